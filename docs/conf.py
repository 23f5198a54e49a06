"""The site: Sphinx reads these pages as MyST Markdown. `make docs` builds it; every warning is an error."""

from importlib import metadata

project = "Argosy"
author = "The Argosy authors"
release = metadata.version("argosy")
html_title = f"Argosy {release}"

extensions = ["myst_parser"]
exclude_patterns = ["_build"]
source_suffix = {".md": "markdown"}
nitpicky = True
smartquotes = False

myst_heading_anchors = 4
myst_enable_extensions = ["deflist"]

html_theme = "furo"
html_static_path = ["_static"]
html_copy_source = False
html_show_sphinx = False
html_extra_path = ["reference/endpoint.schema.json", "reference/config.schema.json", "reference/deployment.schema.json"]
html_css_files = ["site.css"]
pygments_style = "friendly"

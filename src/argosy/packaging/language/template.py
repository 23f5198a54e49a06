"""What a chat template contains, told from its syntax tree: it is code, and is rendered by the engine alone.

It is parsed in a child process (`quarantine`) and never rendered here.
"""

import msgspec
from jinja2 import Environment, TemplateSyntaxError, nodes

from argosy.spec.package import Scan

MAX_BYTES = 256 * 1024
"""The longest that were seen have 30 kB."""
_MOST = 40
_INNOCENT = ("range", "namespace", "dict")
_EXTENSIONS = ("jinja2.ext.loopcontrols", "jinja2.ext.do")


class Templates(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Chat templates to scan in a child process."""

    texts: tuple[str, ...]


class TemplateContents(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What templates contain beyond plain loops, conditions and filters, in words. The verdict has objections for what
    no honest template needs: other files, and names that Python keeps to itself."""

    scan: Scan
    beyond: tuple[str, ...] = ()


def scan(job: Templates) -> TemplateContents:
    """Read templates without rendering them, as a job of `quarantine`."""
    beyond, objections = dict[str, None](), dict[str, None]()
    for text in job.texts:
        found, against = _one(text)
        beyond |= dict.fromkeys(found)
        objections |= dict.fromkeys(against)
    verdict = "objected" if objections else "data-only"
    return TemplateContents(
        scan=Scan(verdict=verdict, objections=tuple(objections)[:_MOST]), beyond=tuple(beyond)[:_MOST]
    )


def _one(text: str) -> tuple[list[str], list[str]]:
    if len(text.encode(errors="replace")) > MAX_BYTES:
        return [], [f"chat template of more than {MAX_BYTES} bytes"]
    try:
        tree = Environment(extensions=_EXTENSIONS).parse(
            text.replace("{% generation %}", "").replace("{% endgeneration %}", "")
        )
    except TemplateSyntaxError as error:
        return [f"a syntax error in line {error.lineno}: {error.message}"[:200]], []
    except RecursionError:
        return [], ["chat template nested too deeply"]
    macros = {node.name for node in tree.find_all(nodes.Macro)}
    found = [f"macro {name}" for name in sorted(macros)]
    calls, methods = set[str](), set[str]()
    for node in tree.find_all(nodes.Call):
        if isinstance(node.node, nodes.Name):
            calls.add(node.node.name)
        elif isinstance(node.node, nodes.Getattr):
            methods.add(node.node.attr)
    found += [f"call {name}()" for name in sorted(calls - macros - {*_INNOCENT})]
    found += [f"method .{name}()" for name in sorted(methods)]
    others = tree.find_all((nodes.Include, nodes.Import, nodes.FromImport, nodes.Extends))
    against = [f"chat template: {type(node).__name__.lower()} of another file" for node in others]
    names = map(_named, tree.find_all((nodes.Getattr, nodes.Getitem, nodes.Filter)))
    against += [f"chat template: {name[:60]}" for name in names if name.startswith("_")]
    return [each[:80] for each in found], against


def _named(node: nodes.Node) -> str:
    """The attribute that is reached, also by a subscript or the filter `attr`."""
    if isinstance(node, nodes.Getattr):
        return node.attr
    if isinstance(node, nodes.Getitem) and isinstance(node.arg, nodes.Const):
        return str(node.arg.value)
    if isinstance(node, nodes.Filter) and node.name == "attr" and node.args:
        first = node.args[0]
        return str(first.value) if isinstance(first, nodes.Const) else "_ a name that is calculated"
    return ""

"""A model package as code inside other software: C, WebAssembly, a library."""

from importlib.metadata import version as distribution_version

project = "Wide Minima"
author = "Wide Minima developers"
project_copyright = "2026, Wide Minima developers"
release = version = distribution_version("wide-minima")

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "numpydoc",
]
exclude_patterns = ["_build"]

myst_enable_extensions = ["dollarmath", "amsmath", "deflist"]
nb_execution_mode = "force"
nb_execution_raise_on_error = True
nb_execution_timeout = 180  # seconds a cell may take on a busy machine
nb_render_markdown_format = "myst"  # tables and math in generated Markdown

autosummary_generate = True
autodoc_typehints = "none"
numpydoc_show_class_members = False
numpydoc_class_members_toctree = False

html_theme = "furo"
html_title = "Wide Minima"

"""Texts written from templates: files in the folder `templates` of the package that fills them."""

from typing import Any

import jinja2


def rendered(package: str, name: str, /, **values: Any) -> str:
    """Return a template of a package with its values filled in; every value must be given."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader(package),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        keep_trailing_newline=True,
    )
    return environment.get_template(name).render(values)

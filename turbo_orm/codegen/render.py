"""Renders the IR of an app to the text of its facade and stub."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined, TemplateError

from turbo_orm.codegen import ir
from turbo_orm.codegen.header import Header
from turbo_orm.codegen.imports import Imports, Symbols
from turbo_orm.codegen.naming import DICT_SUFFIXES, GENERIC_SUFFIXES, TYPE_SUFFIXES
from turbo_orm.codegen.options import Options
from turbo_orm.codegen.view import SELECTED, facade_names, view_app
from turbo_orm.codegen.views import AppView
from turbo_orm.errors import CodegenError

__all__ = ["Renderer"]

#: Where the names come from which the templates use.
_SYMBOLS: Mapping[str, tuple[str, ...]] = {
    "": ("bool", "dict", "int", "object", "str", "tuple", "type"),
    "collections.abc": ("Callable", "Coroutine", "Iterable", "Mapping"),
    "typing": ("Any", "Generic", "Literal", "TypeAlias", "overload", "type_check_only"),
    "typing_extensions": ("Never", "TypedDict", "TypeVar", "TypeVarTuple", "Unpack"),
    "django.core.exceptions": ("MultipleObjectsReturned", "ObjectDoesNotExist"),
    "django.db.models": ("Q",),
    "turbo_orm.typing": (
        "AsyncQuerySet",
        "Column",
        "Cond",
        "Expr",
        "ManyOverlay",
        "Queries",
        "ReverseOverlay",
        "Writes",
    ),
}
#: Names which every facade's classes define, and which would hide an import of the same name.
_FIXED_NAMES = ("DoesNotExist", "MultipleObjectsReturned")


class Renderer:
    """Renders apps with one set of options and templates."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._environment = Environment(
            loader=FileSystemLoader(_template_folders(options)),
            undefined=StrictUndefined,
            autoescape=False,
            trim_blocks=True,
            lstrip_blocks=True,
            keep_trailing_newline=True,
        )

    def render(self, app: ir.App) -> dict[str, str]:
        """Return the text of the facade's module (``.py``) and of its stub (``.pyi``)."""
        header = Header.of(app, self._options).text()
        models = {model.label: model for model in (*app.models, *app.context)}
        imports = Imports(app.facade, models, facade_names(app) | set(_FIXED_NAMES))
        use = Symbols(imports, _SYMBOLS)
        view = view_app(app, self._options, imports)
        body = self._print("body.pyi.j2", app=view, use=use, selected=SELECTED)
        # The imports are known only when everything that uses them has been rendered.
        use["TypeVar"]
        use["TypeVarTuple"]
        stub = self._print(
            "facade.pyi.j2",
            header=header,
            imports="\n".join(imports.lines()),
            use=use,
            aliases=view.aliases,
            body=body.rstrip(),
            selected=SELECTED,
            strict=any(model.loading for model in view.models),
        )
        module = self._print(
            "facade.py.j2",
            header=header,
            app=view,
            models=app.models,
            typing_only=_typing_only(view, TYPE_SUFFIXES),
            dicts=_typing_only(view, DICT_SUFFIXES),
            generic=sorted({*_typing_only(view, GENERIC_SUFFIXES), *_queries(view)}),
        )
        return {".py": module, ".pyi": stub.rstrip() + "\n"}

    def _print(self, template: str, **variables: object) -> str:
        try:
            return self._environment.get_template(template).render(**variables)
        except TemplateError as error:
            raise CodegenError(
                f"{template} cannot be printed: {type(error).__name__}: {error}. "
                "Compare the project's templates with those of this release of turbo_orm."
            ) from error


def _typing_only(view: AppView, suffixes: Iterable[str]) -> list[str]:
    return sorted(model.names[suffix] for model in view.models for suffix in suffixes)


def _queries(view: AppView) -> Iterator[str]:
    """Managers with a queryset of their own have a class of this kind too."""
    return (manager.queries for model in view.models for manager in model.managers)


def _template_folders(options: Options) -> list[Path]:
    """The project's own templates, then ours: in the package of a wheel, else in the checkout."""
    package = Path(__file__).resolve().parent.parent
    ours = next(
        (folder for folder in (package / "templates", package.parent / "templates") if folder.is_dir()), None
    )
    if ours is None:
        raise CodegenError(
            "The templates of turbo_orm are missing from its installation. Install django-turbo-orm again."
        )
    if options.templates is None:
        return [ours]
    own = Path(options.templates)
    if not own.is_dir():
        raise CodegenError(f"The option for templates is {str(options.templates)!r}, which is not a folder.")
    return [own, ours]

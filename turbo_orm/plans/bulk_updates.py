"""Plans of `bulk_update()`: the UPDATE of many rows, taken apart once and put together for each call.

Django's statement has a piece per object and field, another one where the value is NULL, and a
placeholder per key. The pieces are those of statements that Django compiles for samples, and are
kept only if they make Django's own statement of other samples again. The shape is the fields, and
which of them are NULL in all objects.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple
from uuid import UUID

from django.db.models import FileField, Model, QuerySet, When
from django.db.models.lookups import In

from turbo_orm.db.json_text import as_djangos
from turbo_orm.db.statements import Statement, statement
from turbo_orm.plans.capture import capture
from turbo_orm.plans.compiled_inserts import sample_of
from turbo_orm.plans.instances import stores_directly
from turbo_orm.plans.keeping import MAX_PLANS, known_of, make_and_keep
from turbo_orm.plans.python_functions import make_function
from turbo_orm.plans.row_updates import PlannedWrite, key_source
from turbo_orm.plans.saving import FieldParams
from turbo_orm.plans.shapes import trie
from turbo_orm.plans.unsupported import Unsupported
from turbo_orm.plans.values import Bail
from turbo_orm.plans.verify import same_params

__all__ = ["BulkUpdate", "bulk_update_plan", "compiled_bulk_update", "fields_to_update"]

Params = tuple[Any, ...]

#: Where what is known of a model is kept: with its options, so that it goes where they go.
_ATTRIBUTE = "_turbo_bulk_updates"

#: Statements of one shape that are kept, and how many parameters they may have together. They differ
#: in how many objects there are, and in their NULLs.
_MAX_STATEMENTS = 100
_MAX_KEPT_PARAMS = 20_000


class _Updates:
    """What is known of one model."""

    def __init__(self, model: type[Model]) -> None:
        #: They are other ones when the model gets a field.
        self.fields: Any = model._meta.local_concrete_fields
        #: By names as they were given. None if only Django can update them, or has an error for them.
        self.by_names: dict[tuple[str, ...], tuple[Any, ...] | None] = {}
        self.plans: dict[Any, BulkUpdate | None] = {}
        #: Shapes that were seen once: to make a plan costs more than a small update by Django.
        self.seen: set[Any] = set()


def fields_to_update(model: type[Model], names: tuple[str, ...]) -> tuple[Any, ...] | None:
    """Return the fields *names* of *model* stand for; None if only Django can update them, or refuses to."""
    known = known_of(model, _ATTRIBUTE, _Updates).by_names
    try:
        return known[names]
    except KeyError:
        pass
    if len(known) >= MAX_PLANS:
        known.clear()
    found = known[names] = _find(model, names)
    return found


def _find(model: Any, names: tuple[str, ...]) -> tuple[Any, ...] | None:
    # Of its own table: a field of a parent's is another statement.
    local = model._meta.concrete_model._meta.local_concrete_fields
    by_name = {name: field for field in local for name in (field.name, field.attname)}
    fields = [by_name.get(name) for name in names]
    if any(field is None or field.primary_key for field in fields):
        return None
    return tuple(fields)


def bulk_update_plan(
    model: type[Model], fields: tuple[Any, ...], alias: str, connection: Any
) -> BulkUpdate | None:
    """Return the plan to set *fields* of objects of *model*, None if there is none.

    It is made when it is wanted for the second time. *connection* compiles.
    """
    updates = known_of(model, _ATTRIBUTE, _Updates)
    plans, seen = updates.plans, updates.seen
    # Tests replace the name of the table; lookups, of keys among others, come and go with the epoch.
    shape = (trie.epoch, alias, connection, model._meta.db_table, *map(id, fields))
    try:
        return plans[shape]
    except KeyError:
        pass
    if shape not in seen and not trie.at_once:
        if len(seen) >= MAX_PLANS:
            seen.clear()
        seen.add(shape)
        return None
    seen.discard(shape)
    return make_and_keep(plans, shape, lambda: BulkUpdate(model, fields, alias, connection))


def compiled_bulk_update(
    model: type[Model], objs: Sequence[Any], fields: Sequence[Any], alias: str
) -> tuple[str, Params]:
    """Return the SQL and parameters of the only batch of Django's own `bulk_update()` of *objs*.

    They may be changed: see `sample_of()`.
    """
    compiler = _compiler(model, objs, fields, alias)
    sql, params = compiler.as_sql()
    return sql, tuple(params)


def _compiler(model: type[Model], objs: Sequence[Any], fields: Sequence[Any], alias: str) -> Any:
    names = [field.name for field in fields]
    return capture(alias, lambda: QuerySet(model=model, using=alias).bulk_update(objs, names))


#: The numbers of objects and of different keys, and by field which objects have the piece of NULL.
_Shape = tuple[int, int, tuple["tuple[bool, ...] | None", ...]]


class _Text(NamedTuple):
    """The SQL of one shape, in pieces."""

    #: Before the pieces of the first field's objects, of the second's..., before the list of keys, and after.
    between: tuple[str, ...]
    #: By field: what there is of an object; None if none has a value.
    values: tuple[str | None, ...]
    #: By field: what there is of an object whose value is NULL; None if that is unknown.
    nulls: tuple[str | None, ...]
    #: By what `sql()` takes.
    statements: dict[Any, Statement]

    def statement(self, shape: _Shape, count: int) -> Statement:
        """Return the statement of *shape*, with *count* parameters; keep it unless it is too large."""
        made = statement(self.sql(*shape), count)
        made.unnamed = True
        if made.refused:
            return made
        kept = self.statements
        if (
            len(kept) >= _MAX_STATEMENTS
            or sum(len(each.automatic) for each in [*kept.values()]) + count > _MAX_KEPT_PARAMS
        ):
            kept.clear()
        kept[shape] = made
        return made

    def sql(self, count: int, different: int, null: Sequence[Sequence[bool] | None]) -> str:
        """Return the SQL for *count* objects, *different* of them, as Django has it."""
        parts: list[str] = []
        for text, value, other, which in zip(self.between, self.values, self.nulls, null, strict=False):
            pieces: list[Any] = (
                [value] * count if which is None else [other if each else value for each in which]
            )
            if None in pieces:
                raise Unsupported("a field's NULL is another value than None")
            parts += [text, " ".join(pieces)]
        *_, before, after = self.between
        parts += [before, "(", ", ".join(["%s"] * different), ")", after]
        return "".join(parts)


class BulkUpdate:
    """The UPDATE of a number of fields of many objects."""

    def __init__(self, model: type[Model], fields: tuple[Any, ...], alias: str, connection: Any) -> None:
        self._model = model
        #: Kept alive: plans are known by their `id()`.
        self._fields = fields
        self._alias = alias
        self._read, self._kind_of_key = _reader(model, fields, connection)
        #: By field, whether all values are NULL.
        self._texts: dict[tuple[bool, ...], _Text | None] = {}

    def write(self, objs: Sequence[Any]) -> PlannedWrite:
        """Return the statement that updates the rows of *objs*, of one batch.

        Raises `Bail`, `Unsupported`, and what fields raise: all are for Django's own path.
        """
        keys, columns = self._read(objs)
        empty = tuple([column.count(None) == len(column) if None in column else False for column in columns])
        try:
            text = self._texts[empty]
        except KeyError:
            text = make_and_keep(self._texts, empty, lambda: self._compile(objs, columns, empty))
        if text is None:
            raise Unsupported("it has no plan")
        shape, params = _assembled(text, keys, columns)
        found = text.statements.get(shape)
        if found is None:
            found = text.statement(shape, len(params))
        return PlannedWrite(self._alias, found, params)

    def _compile(
        self, objs: Sequence[Any], columns: Sequence[Sequence[Any]], empty: tuple[bool, ...]
    ) -> _Text:
        given = {
            field.attname: None if none else vars(objs[_first(column)])[field.attname]
            for field, column, none in zip(self._fields, columns, empty, strict=True)
        }
        some, none, more = (
            self._sample(objs[0], number, values)
            for number, values in enumerate((given, dict.fromkeys(given), given), start=1)
        )
        between, values = self._taken_apart(some)
        others, nulls = self._taken_apart(none)
        _, prepared = self._read([none])
        text = _Text(
            between,
            tuple(None if all_null else piece for piece, all_null in zip(values, empty, strict=True)),
            tuple(
                piece if column[0] is None else None for piece, column in zip(nulls, prepared, strict=True)
            ),
            {},
        )
        if others != between:
            raise Unsupported("more of it depends on the values than what there is of an object")
        for samples in ([some], [none], [some, none, more], [none, some, some]):
            shape, params = _assembled(text, *self._read(samples))
            sql, djangos = compiled_bulk_update(self._model, samples, self._fields, self._alias)
            if text.sql(*shape) != sql or not same_params(tuple(map(as_djangos, params)), djangos):
                raise Unsupported("its pieces do not make Django's statement")
            try:
                statement(sql, len(params))
            except ValueError as error:
                raise Unsupported(str(error)) from None
        return text

    def _sample(self, obj: Any, number: int, values: dict[str, Any]) -> Any:
        sample = sample_of(self._model, obj)
        # Related objects were looked at before, and those of a sample may be other ones than its fields say.
        sample._state.fields_cache.clear()
        key = UUID(int=number) if self._kind_of_key is UUID else self._kind_of_key(number)
        sample.__dict__.update(values, **{self._model._meta.pk.attname: key})
        return sample

    def _taken_apart(self, sample: Any) -> tuple[tuple[str, ...], list[str]]:
        """Return what is around the pieces in Django's statement for *sample*, and its pieces."""
        compiler = _compiler(self._model, [sample], self._fields, self._alias)
        compile_whole = compiler.compile
        pieces: list[str] = []
        lists: list[str] = []

        def compile_apart(node: Any) -> tuple[str, Any]:
            sql, params = compile_whole(node)
            if isinstance(node, When):
                pieces.append(sql)
            elif isinstance(node, In):
                lists.append(sql)
            else:
                return sql, params
            return _HERE, params

        compiler.compile = compile_apart
        sql, _ = compiler.as_sql()
        between = sql.split(_HERE)
        if (
            len(lists) != 1
            or len(pieces) != len(self._fields)
            or len(between) != len(pieces) + 2
            or not lists[0].endswith("(%s)")
        ):
            raise Unsupported("Django has another statement for it")
        between[-2] += lists[0].removesuffix("(%s)")
        return tuple(between), pieces


#: Stands where a piece was: no SQL has it.
_HERE = "\0"


def _first(column: Sequence[Any]) -> int:
    """Return where the first value is that is not NULL."""
    return next(number for number, value in enumerate(column) if value is not None)


def _assembled(text: _Text, keys: list[Any], columns: Sequence[list[Any]]) -> tuple[_Shape, Params]:
    """Return the shape of the SQL, and its parameters."""
    count = len(keys)
    params: list[Any] = []
    nulls: list[tuple[bool, ...] | None] = []
    for column, value, null in zip(columns, text.values, text.nulls, strict=True):
        if None not in column or value == null:
            pairs = [None] * (2 * count)
            pairs[::2] = keys
            pairs[1::2] = column
            params += pairs
            nulls.append(None)
        else:
            has_null = null is not None and null.count("%s") > 1
            for key, each in zip(keys, column, strict=True):
                params.append(key)
                if each is not None or has_null:
                    params.append(each)
            nulls.append(tuple([each is None for each in column]))
    different = dict.fromkeys(keys)
    params += different
    return (count, len(different), tuple(nulls)), tuple(params)


def _reader(
    model: type[Model], fields: Sequence[Any], connection: Any
) -> tuple[Callable[[Sequence[Any]], tuple[list[Any], tuple[list[Any], ...]]], Any]:
    """Return what makes objects into parameters, their keys and a list per field; and the type of keys."""
    meta: Any = model._meta
    for lookup in ("exact", "in"):
        if not meta.pk.get_lookup(lookup).__module__.startswith("django."):
            raise Unsupported(f"{meta.pk} has a lookup of its own")
    made = FieldParams(fields, connection)
    namespace = made.namespace
    is_key, key = key_source(meta.pk, connection, namespace)
    namespace["Bail"] = Bail
    reads = [f"key = d[{meta.pk.attname!r}]", f"if not ({is_key}): raise Bail"]
    for number, field in enumerate(fields):
        if not (stores_directly(model, field.attname) and stores_directly(model, meta.pk.attname)):
            raise Unsupported(f"{field} is set by a descriptor")
        reads.append(f"v{number} = d[{field.attname!r}]")
        if isinstance(field, FileField):
            # What is stored, a name, becomes a file when it is looked at, and is another one without a name.
            reads.append(f"v{number} = o.{field.attname}")
    columns = [f"c{number}" for number in range(len(fields))]
    lines = [
        "def read(objs):",
        "    keys = []",
        *(f"    {column} = []" for column in columns),
        "    for o in objs:",
        "        d = o.__dict__",
        *(f"        {line}" for line in (*reads, *made.lines)),
        f"        keys.append({key})",
        *(
            f"        {column}.append({expression})"
            for column, expression in zip(columns, made.expressions, strict=True)
        ),
        f"    return keys, ({''.join(f'{column}, ' for column in columns)})",
        "",
    ]
    kind = namespace["kind_of_key"]
    return make_function("read", "\n".join(lines), namespace), kind

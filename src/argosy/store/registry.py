"""The registry: names, versions, aliases, over SQLite or PostgreSQL."""

import difflib
from collections.abc import Collection, Iterable

import msgspec
import sqlalchemy as sa

from argosy.spec.endpoint import check_name
from argosy.spec.errors import Conflict, InvalidArgument, NotFound
from argosy.spec.package import Lineage, ModelManifest
from argosy.store import ledger
from argosy.store.database import Database, metadata
from argosy.store.ledger import Cause, Entry
from argosy.store.manifest import check_digest
from argosy.store.table import Json, RowMapper, add, now, put
from argosy.store.version import AliasMove, ModelSummary, Moved, Reference, Trust, Version

models_table = sa.Table(
    "models",
    metadata,
    sa.Column("name", sa.String(63), primary_key=True),
    sa.Column("last_number", sa.Integer, nullable=False),
    sa.Column("created", sa.String(32), nullable=False),
)
versions_table = sa.Table(
    "versions",
    metadata,
    sa.Column("name", sa.String(63), sa.ForeignKey("models.name"), primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("digest", sa.String(71), nullable=False, index=True),
    sa.Column("size", sa.BigInteger, nullable=False),
    sa.Column("manifest", Json(ModelManifest), nullable=False),
    sa.Column("lineage", Json(Lineage), nullable=False),
    sa.Column("created", sa.String(32), nullable=False),
    sa.UniqueConstraint("name", "digest"),
)
aliases_table = sa.Table(
    "aliases",
    metadata,
    sa.Column("name", sa.String(63), primary_key=True),
    sa.Column("alias", sa.String(63), primary_key=True),
    sa.Column("number", sa.Integer, nullable=False),
    sa.ForeignKeyConstraint(["name", "number"], ["versions.name", "versions.number"]),
)
trust_table = sa.Table(
    "trusted_packages",
    metadata,
    sa.Column("digest", sa.String(71), primary_key=True),
    sa.Column("trusted_by", sa.Text, nullable=False),
    sa.Column("trusted_at", sa.String(32), nullable=False),
    sa.Column("objections", Json(tuple[str, ...]), nullable=False),
)
"""Which packages the owner of this store trusts to run code of their authors. Nothing that a package says of itself is
such a fact."""
M, V, A, T = models_table.c, versions_table.c, aliases_table.c, trust_table.c
VERSIONS = RowMapper(versions_table, Version)
TRUSTS = RowMapper(trust_table, Trust, by="trusted_by", at="trusted_at")


class Registry:
    """Versions by name. Every method is one transaction; any number of processes may call at once."""

    def __init__(self, database: Database | str, *, forbid_back: bool = False) -> None:
        """With `forbid_back` no alias moves to a version below one that it had."""
        self.database = database if isinstance(database, Database) else Database(database).create()
        self._forbid_back = forbid_back

    def register(
        self,
        name: str,
        digest: str,
        *,
        manifest: ModelManifest,
        lineage: Lineage,
        size: int,
        trusted: bool = False,
        number: int = 0,
    ) -> Version:
        """Give a package the next number under `name`; one that is there already keeps its number and its lineage.

        `trusted`: who pushes it vouches for it, from now on. Numbers are never given twice, not even after a removal.
        `number` is that of another store, which this one is to have, too. Raises InvalidArgument; Conflict where
        another package has it.
        """
        check_name(name, "model name")
        check_digest(digest)
        moment = now()
        with self.database.begin() as connection:
            add(connection, models_table, [{"name": name, "last_number": 0, "created": moment}])
            last = _lock(connection, name) or 0
            if trusted:
                objections = tuple(sorted(manifest.scan.objections))
                TRUSTS.add(connection, [Trust(by=lineage.pushed_by, at=now(), objections=objections)], digest=digest)
            existing = _find(connection, V.name == name, V.digest == digest)
            if existing and number in (0, existing.number):
                return existing
            taken = existing or (number and _find(connection, V.name == name, V.number == number))
            if taken:
                raise Conflict(f"{taken.ref} is {taken.digest[:19]}…, and {name}:{number} is to be {digest[:19]}…")
            number = number or last + 1
            connection.execute(sa.update(models_table).where(M.name == name).values(last_number=max(last, number)))
            row = {"name": name, "number": number, "digest": digest, "size": size, "created": moment}
            connection.execute(sa.insert(versions_table).values(row | {"manifest": manifest, "lineage": lineage}))
            return _resolve(connection, Reference(name=name, number=number))

    def resolve(self, ref: str) -> Version:
        """`name` (latest), `name:number`, `name@alias` or `sha256:…` → version. Raises NotFound, InvalidArgument."""
        reference = Reference.parse(ref)
        with self.database.read() as connection:
            return _resolve(connection, reference)

    def models(self) -> list[ModelSummary]:
        """Every name that has a version, sorted."""
        query = (
            sa.select(
                M.name,
                M.created,
                sa.func.max(V.number).label("latest"),
                sa.func.count().label("versions"),
                sa.func.max(V.created).label("updated"),
            )
            .join(versions_table, V.name == M.name)
            .group_by(M.name, M.created)
        )
        with self.database.read() as connection:
            rows = connection.execute(query).all()
            pointers = connection.execute(sa.select(A.name, A.alias, A.number).order_by(A.alias)).all()
        found: dict[str, dict[str, int]] = {}
        for name, alias, number in pointers:
            found.setdefault(name, {})[alias] = number
        return [
            ModelSummary(aliases=found.get(row.name, {}), **row._mapping)  # pyright: ignore[reportPrivateUsage]
            for row in sorted(rows, key=lambda row: row.name)
        ]

    def versions(self, name: str) -> list[Version]:
        """The versions of a model, oldest first. Raises NotFound."""
        check_name(name, "model name")
        with self.database.read() as connection:
            found = _versions(connection, V.name == name)
            if not found:
                raise _no_model(connection, name)
            return found

    def digests(self) -> set[str]:
        """The digests of all versions: what a garbage collection must keep."""
        with self.database.read() as connection:
            return set(connection.execute(sa.select(V.digest).distinct()).scalars())

    def trusted(self, digest: str) -> bool:
        """Whether the owner of this store vouches for a package, so that it may run code of its author."""
        with self.database.read() as connection:
            return TRUSTS.one(connection, T.digest == digest) is not None

    def set_alias(self, name: str, alias: str, version: int, cause: Cause | None = None) -> Moved:
        """Point `name@alias` at a version, and write that and its cause into the ledger, and whether it moved back.
        Raises NotFound; Conflict where it would move back, and that is forbidden."""
        reference = Reference(name=check_name(name, "model name"), number=version)
        check_name(alias, "alias")
        with self.database.begin() as connection:
            _lock(connection, name)
            target = _resolve(connection, reference)
            if alias in target.aliases:
                return _moved(target, None, [])
            before = _aliases(connection, name).get(alias)
            moves = ledger.of_event(connection, "alias", ledger.T.subject == f"{name}@{alias}")
            had = [number for each in moves if (number := _number(each)) is not None]
            if self._forbid_back and had and version < max(had):
                raise Conflict(
                    f"{name}@{alias} had version {max(had)}, and store.forbid_alias_back keeps aliases forward: "
                    f"deploy {name}:{version} by its number, or let the platform's owner turn that setting off"
                )
            put(connection, aliases_table, [{"name": name, "alias": alias, "number": version}])
            moved = _moved(_resolve(connection, reference), before, had)
            body: dict[str, object] = {"version": target.ref, "digest": target.digest}
            body |= ({"before": f"{name}:{before}"} if before else {}) | ({"back": True} if moved.back else {})
            ledger.append(connection, f"{name}@{alias}", "alias", body, cause)
            return moved

    def remove_alias(self, name: str, alias: str, cause: Cause | None = None) -> None:
        """Let `name@alias` point at nothing. Raises NotFound."""
        reference = Reference(name=check_name(name, "model name"), alias=check_name(alias, "alias"))
        with self.database.begin() as connection:
            _lock(connection, name)
            _resolve(connection, reference)
            connection.execute(sa.delete(aliases_table).where(A.name == name, A.alias == alias))
            ledger.append(connection, f"{name}@{alias}", "alias", {"version": None, "digest": None}, cause)

    def history(self, name: str) -> list[AliasMove]:
        """Every move of every alias of a model, oldest first, as the ledger has them. They outlive the versions."""
        check_name(name, "model name")
        with self.database.read() as connection:
            found = ledger.of_event(connection, "alias", ledger.T.subject.startswith(f"{name}@", autoescape=True))
        return [
            AliasMove(name=name, alias=each.subject.rpartition("@")[2], number=_number(each), moved=each.time)
            for each in found
        ]

    def remove(self, ref: str) -> Version:
        """Forget one version, named `name:number`. Returns what it was. The package itself goes with a collection,
        and what vouches for it with the last version of it.

        Raises NotFound, InvalidArgument, and Conflict while an alias points at it.
        """
        reference = Reference.parse(ref)
        if reference.number is None:
            raise InvalidArgument(f"'{ref[:80]}' may mean several versions; say which one, as name:number")
        with self.database.begin() as connection:
            _lock(connection, reference.name)
            found = _resolve(connection, reference)
            if found.aliases:
                raise Conflict(f"{found.ref} is {found.name}@{found.aliases[0]}: point that alias elsewhere first")
            where = (V.name == found.name, V.number == found.number)
            connection.execute(sa.delete(versions_table).where(*where))
            if _find(connection, V.digest == found.digest) is None:
                connection.execute(sa.delete(trust_table).where(T.digest == found.digest))
        return found


def _lock(connection: sa.Connection, name: str) -> int | None:
    """Let nobody else change this model until our transaction ends. Returns the last number given, if any."""
    return connection.execute(sa.select(M.last_number).where(M.name == name).with_for_update()).scalar()


def _resolve(connection: sa.Connection, reference: Reference) -> Version:
    if reference.digest:
        if found := _find(connection, V.digest == reference.digest):
            return found
        raise NotFound(f"no version has the digest {reference.digest}")
    name = reference.name
    numbers = _numbers(connection, name)
    if not numbers:
        raise _no_model(connection, name)
    number = numbers[-1] if reference.number is None else reference.number
    if alias := reference.alias:
        known = _aliases(connection, name)
        if alias not in known:
            raise NotFound(f"'{name}' has no alias '{alias}'" + (_near(alias, known) or "; it has none" * (not known)))
        number = known[alias]
    if found := _find(connection, V.name == name, V.number == number):
        return found
    last = f"{'the last ones are' if len(numbers) > 10 else 'it has'} {', '.join(map(str, numbers[-10:]))}"
    raise NotFound(f"'{name}' has no version {number}; {last}")


def _no_model(connection: sa.Connection, name: str) -> NotFound:
    known = list(connection.execute(sa.select(V.name).distinct()).scalars())
    hint = _near(name, known) or ("" if known else "; nothing has been pushed yet")
    return NotFound(f"no model is named '{name}'" + hint)


def _near(word: str, known: Iterable[str]) -> str:
    names = sorted(known)
    if near := difflib.get_close_matches(word, names, n=1):
        return f"; did you mean '{near[0]}'?"
    return f"; there are {', '.join(names[:10])}{' …' if len(names) > 10 else ''}" if names else ""


def _find(connection: sa.Connection, *where: sa.ColumnElement[bool]) -> Version | None:
    """The version that fits; where several do (one digest under several names), the one registered last."""
    found = _versions(connection, *where)
    return max(found, key=lambda version: version.created) if found else None


def _versions(connection: sa.Connection, *where: sa.ColumnElement[bool]) -> list[Version]:
    rows = VERSIONS.all(connection, VERSIONS.query(*where).order_by(V.name, V.number))
    pointers = {name: _aliases(connection, name) for name in {row.name for row in rows}}
    query = TRUSTS.query(T.digest.in_({row.digest for row in rows})).add_columns(T.digest)
    trusts = {row["digest"]: TRUSTS.of(row) for row in connection.execute(query).mappings()}
    return [
        msgspec.structs.replace(
            row,
            aliases=tuple(alias for alias, number in pointers[row.name].items() if number == row.number),
            trust=trusts.get(row.digest),
        )
        for row in rows
    ]


def _numbers(connection: sa.Connection, name: str) -> list[int]:
    return list(connection.execute(sa.select(V.number).where(V.name == name).order_by(V.number)).scalars())


def _aliases(connection: sa.Connection, name: str) -> dict[str, int]:
    rows = connection.execute(sa.select(A.alias, A.number).where(A.name == name)).all()
    return dict(sorted((row.alias, row.number) for row in rows))


def _number(entry: Entry) -> int | None:
    """The version that an alias came to point at, as its entry in the ledger names it."""
    ref: str | None = entry.body["version"]
    return None if ref is None else int(ref.rpartition(":")[2])


def _moved(version: Version, before: int | None, had: Collection[int]) -> Moved:
    back = version.number in had or version.number < (before or max(had, default=0))
    return Moved(**msgspec.structs.asdict(version), before=before, back=back)

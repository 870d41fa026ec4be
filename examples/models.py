"""The database: users and their files."""

from __future__ import annotations

from sqlalchemy import Engine, ForeignKey, func, select
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, sessionmaker
from sqlalchemy.schema import CreateTable

new_session = sessionmaker()


class Base(DeclarativeBase):
    """The base of the tables."""


class User(Base):
    """A user that can log in."""

    __tablename__ = "users"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)
    password: Mapped[str]


class File(Base):
    """An uploaded file."""

    __tablename__ = "files"

    id: Mapped[str] = mapped_column(primary_key=True)
    user_id: Mapped[int] = mapped_column(ForeignKey("users.id"), index=True)
    name: Mapped[str]
    size: Mapped[int]
    type: Mapped[str]


def connect(engine: Engine) -> None:
    """Use a database, and create the tables that it does not have."""
    new_session.configure(bind=engine)
    with engine.begin() as connection:
        for table in Base.metadata.sorted_tables:
            connection.execute(CreateTable(table, if_not_exists=True))


def used_bytes(db: Session, user_id: int) -> int:
    """Return the bytes of all files of a user together."""
    # The sum of no rows is NULL.
    return db.scalar(select(func.sum(File.size)).where(File.user_id == user_id)) or 0

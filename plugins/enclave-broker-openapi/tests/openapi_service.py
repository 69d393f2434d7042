"""A service made with FastAPI, which writes its document: all kinds of parameters and bodies."""

from __future__ import annotations

import base64
from datetime import date
from enum import Enum
from typing import Annotated, Literal

from fastapi import (
    APIRouter,
    Body,
    Cookie,
    Depends,
    FastAPI,
    File,
    Form,
    Header,
    HTTPException,
    Path,
    Query,
    Request,
    Response,
    UploadFile,
)
from fastapi.responses import PlainTextResponse
from fastapi.security import (
    APIKeyCookie,
    APIKeyHeader,
    APIKeyQuery,
    HTTPAuthorizationCredentials,
    HTTPBasic,
    HTTPBasicCredentials,
    HTTPBearer,
)
from pydantic import BaseModel, Field


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


class Cat(BaseModel):
    kind: Literal["cat"]
    lives: int = 9


class Dog(BaseModel):
    kind: Literal["dog"]
    barks: bool


class Node(BaseModel):
    name: str
    children: list[Node] = []


class Item(BaseModel):
    name: str = Field(min_length=1)
    price: float | None = None
    tags: list[str] = []
    pet: Annotated[Cat | Dog, Field(discriminator="kind")] | None = None
    when: date | None = None


class Filter(BaseModel):
    limit: int = Field(100, gt=0, le=100)
    order_by: Literal["a", "b"] = "a"
    tags: list[str] = []


class Login(BaseModel):
    user: str
    password: str


router = APIRouter()


@router.get("/path/{text}/{number}/{colour}")
async def paths(text: str, number: int, colour: Colour, ratio: float = Query(alias="number")):  # type: ignore[no-untyped-def]
    return {"text": text, "number": number, "colour": colour, "ratio": ratio}


@router.get("/query")
async def queries(  # type: ignore[no-untyped-def]
    q: str,
    many: Annotated[list[int], Query()] = [],  # noqa: B006
    flag: bool = False,
    when: date | None = None,
    odd: Annotated[str | None, Query(alias="odd[name]")] = None,
):
    return {"q": q, "many": many, "flag": flag, "when": when, "odd": odd}


@router.get("/filter")
async def filtered(given: Annotated[Filter, Query()]):  # type: ignore[no-untyped-def]
    return given


@router.get("/headers")
async def headers(  # type: ignore[no-untyped-def]
    user_agent: Annotated[str, Header()],
    x_number: Annotated[int | None, Header()] = None,
):
    return {"user_agent": user_agent, "x_number": x_number}


@router.get("/header-lists")
async def header_lists(x_many: Annotated[list[str], Header()]):  # type: ignore[no-untyped-def]
    return x_many


@router.get("/cookies")
async def cookies(  # type: ignore[no-untyped-def]
    session: Annotated[str, Cookie()], level: Annotated[int | None, Cookie()] = None
):
    return {"session": session, "level": level}


@router.post("/items")
async def create_item(item: Item):  # type: ignore[no-untyped-def]
    return item


@router.put("/items/{item_id}")
async def update_item(  # type: ignore[no-untyped-def]
    item_id: Annotated[int, Path(ge=1)],
    item: Item,
    owner: Annotated[Login, Body()],
    weight: Annotated[int, Body()] = 1,
):
    return {"item_id": item_id, "item": item, "owner": owner, "weight": weight}


@router.post("/tree")
async def tree(node: Node) -> Node:
    return node


@router.post("/scalar")
async def scalar(value: Annotated[int, Body()]):  # type: ignore[no-untyped-def]
    return value


@router.post("/list")
async def listed(values: list[Item]):  # type: ignore[no-untyped-def]
    return values


@router.post("/form")
async def form(  # type: ignore[no-untyped-def]
    user: Annotated[str, Form()],
    many: Annotated[list[int], Form()],
    note: Annotated[str | None, Form()] = None,
):
    return {"user": user, "many": many, "note": note}


@router.post("/form-model")
async def form_model(login: Annotated[Login, Form()]):  # type: ignore[no-untyped-def]
    return login


@router.post("/files")
async def files(  # type: ignore[no-untyped-def]
    one: UploadFile,
    raw: Annotated[bytes, File()],
    title: Annotated[str, Form()],
    many: list[UploadFile] | None = None,
):
    return {
        "one": [one.filename, one.content_type, base64.b64encode(await one.read())],
        "raw": base64.b64encode(raw),
        "title": title,
        "many": [[each.filename, (await each.read()).decode()] for each in many or []],
    }


@router.get("/basic")
async def basic(who: Annotated[HTTPBasicCredentials, Depends(HTTPBasic())]):  # type: ignore[no-untyped-def]
    return [who.username, who.password]


@router.get("/bearer")
async def bearer(who: Annotated[HTTPAuthorizationCredentials, Depends(HTTPBearer())]):  # type: ignore[no-untyped-def]
    return who.credentials


@router.get("/key-in-header")
async def key_in_header(key: Annotated[str, Depends(APIKeyHeader(name="X-Key"))]):  # type: ignore[no-untyped-def]
    return key


@router.get("/key-in-query")
async def key_in_query(q: str, key: Annotated[str, Depends(APIKeyQuery(name="key"))]):  # type: ignore[no-untyped-def]
    return [q, key]


@router.get("/key-in-cookie")
async def key_in_cookie(key: Annotated[str, Depends(APIKeyCookie(name="sid"))]):  # type: ignore[no-untyped-def]
    return key


@router.get("/open")
async def open_to_all(request: Request):  # type: ignore[no-untyped-def]
    return sorted(set(request.headers) & {"authorization", "cookie", "x-key"})


@router.get("/text", response_class=PlainTextResponse)
async def text() -> str:
    return "plain"


@router.get("/bytes")
async def raw() -> Response:
    return Response(b"\x00\xff", media_type="application/x-thing")


@router.delete("/nothing", status_code=204)
async def nothing() -> None: ...


@router.get("/missing")
async def missing() -> None:
    raise HTTPException(404, "there is no such thing")


def application() -> FastAPI:
    app = FastAPI()
    app.include_router(router)
    return app

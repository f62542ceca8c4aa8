"""Values that are refused: the answer says which are right, and where."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from api.carriers import CarrierChange, CarrierInput
from api.framework import parse_body
from api.keys import KeyInput
from api.operation import Body
from api.partnerships import PartnershipInput
from api.swaps import ConfirmationInput, PlanInput, SwapsQuery
from api.wording import worded
from rsp.errors import Malformed
from tenancy.principal import Scope

CARRIER = {"name": "n", "platform": {"kind": "external"}}
PARTNERSHIP = {"enterpriseId": 1, "partnerId": 1, "model": "resale", "plans": {}}
ROLES = "role must be one of lead, partner, both"
SCOPES = ", ".join(one.value for one in Scope)
EID = "eid: an EID is 32 decimal digits"


@pytest.mark.parametrize(
    ("kind", "body", "text"),
    [
        (CarrierInput, CARRIER | {"role": "sponsor"}, ROLES),
        (CarrierChange, {"role": "sponsor"}, ROLES),
        (KeyInput, {"name": "n", "kind": "x", "scopes": []}, "kind must be one of admin, carrier, enterprise"),
        (KeyInput, {"name": "n", "kind": "admin", "scopes": ["x"]}, f"scopes[0] must be one of {SCOPES}"),
        (PartnershipInput, PARTNERSHIP | {"model": "x"}, "model must be one of "),
        (PlanInput, {"eid": "123", "targetId": 1}, EID),
        (PartnershipInput, PARTNERSHIP | {"territory": ["F"]}, "territory[0]: a mobile country code is 3 decimal"),
        (ConfirmationInput, {"iccid": "12"}, "iccid: an ICCID is 18 to 20 decimal digits"),
    ],
)
def test_a_refused_value_is_answered_with_the_right_ones(kind: type[Body], body: dict[str, Any], text: str) -> None:
    with pytest.raises(Malformed) as refused:
        parse_body(kind, msgspec.json.encode(body))
    assert str(refused.value).startswith(text)
    assert "regex" not in str(refused.value)


@pytest.mark.parametrize(("query", "text"), [({"state": "x"}, "state must be one of "), ({"eid": "1"}, EID)])
def test_so_is_a_member_of_a_query(query: dict[str, str], text: str) -> None:
    with pytest.raises(msgspec.ValidationError) as refused:
        msgspec.convert(query, SwapsQuery, strict=False)
    assert worded(refused.value, SwapsQuery).startswith(text)


def test_whatever_else_is_wrong_keeps_its_words() -> None:
    with pytest.raises(Malformed, match=r"Expected `str`, got `int` - at `\$\.role`"):
        parse_body(CarrierInput, msgspec.json.encode(CARRIER | {"role": 1}))
    with pytest.raises(Malformed, match="unknown field `x`"):
        parse_body(CarrierInput, msgspec.json.encode(CARRIER | {"role": "lead", "x": 1}))

"""Join links come from chats, mails and strangers: what is right survives, what is wrong is one LinkError line."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swarm.errors import LinkError
from swarm.run.link import MAX_LINK, Link, parse
from swarm.trust.identity import Identity

PEER = Identity.generate().peer_id
DIGEST = "3f" * 32
HERE = f"/ip4/203.0.113.7/tcp/4001/p2p/{PEER}"
RELAYED = (
    f"/dns4/relay.example.org/tcp/443/wss/p2p/QmYyQSo1c1Ym7orWxLYvCrM2EmxFTANf8wXmmE7DWjhx5N/p2p-circuit/p2p/{PEER}"
)
ADDRESSES = [HERE, f"/ip6/2001:db8::1/udp/4001/quic-v1/p2p/{PEER}", f"/dns/a-b.example/tcp/1/p2p/{PEER}", RELAYED]

links = st.builds(
    Link,
    digest=st.binary(min_size=32, max_size=32).map(bytes.hex),
    peers=st.lists(st.sampled_from(ADDRESSES), min_size=1, max_size=4, unique=True).map(tuple),
    at=st.none() | st.tuples(st.integers(0, 2**53), st.binary(min_size=32, max_size=32).map(bytes.hex)),
)


@given(links)
def test_a_link_survives_being_written_and_read(link: Link) -> None:
    assert parse(str(link)) == link
    assert parse(f" <{link}>\n") == link
    assert parse(f"“{link}”") == link


def test_the_form_is_pinned() -> None:
    link = Link(DIGEST, (HERE, ADDRESSES[1]), at=(40, "ab" * 32))
    assert str(link) == f"bloomswarm:{DIGEST}?peer={HERE}&peer={ADDRESSES[1]}&at=40:{'ab' * 32}"
    assert parse(f"bloomswarm:{DIGEST}?peer={HERE.replace('/', '%2F')}&peer={HERE}").peers == (HERE,)


MALFORMED = {
    "": "not a join link",
    "hello": "not a join link",
    f"https://example.org/{DIGEST}": "not a join link",
    "bloomswarm:": "names no peer",
    f"bloomswarm:{DIGEST}": "names no peer",
    f"bloomswarm:{DIGEST}?": "where name=value belongs",
    f"bloomswarm:{DIGEST}?peer=": "peer '' does not begin with /",
    f"bloomswarm:{DIGEST[:-1]}?peer={HERE}": "not 64 hex digits",
    f"bloomswarm:{DIGEST.replace('f', 'g')}?peer={HERE}": "not 64 hex digits",
    f"bloomswarm:{DIGEST}?peer=/ip4/1.2.3.4/tcp/1": "does not end in /p2p/",
    f"bloomswarm:{DIGEST}?peer=/ip4/1.2.3.4/tcp/1/p2p/12D3KooWnobody": "after /p2p",
    f"bloomswarm:{DIGEST}?peer=/ip4/1.2.3.4/tcp/0/p2p/{PEER}": "port 0",
    f"bloomswarm:{DIGEST}?peer=/ip4/1.2.3.400/tcp/1/p2p/{PEER}": "after /ip4",
    f"bloomswarm:{DIGEST}?peer=/ip4/1.2.3.4/tcp/65536/p2p/{PEER}": "after /tcp",
    f"bloomswarm:{DIGEST}?peer=/ip4/1.2.3.4/tcp/²/p2p/{PEER}": "after /tcp",
    f"bloomswarm:{DIGEST}?peer=/dns/a b/tcp/1/p2p/{PEER}": "after /dns",
    f"bloomswarm:{DIGEST}?peer=/unix/etc/passwd/p2p/{PEER}": "unknown part 'unix'",
    f"bloomswarm:{DIGEST}?peer=/p2p/{PEER}": "does not begin with /ip4",
    f"bloomswarm:{DIGEST}?peer={HERE}&secret=1": "'secret', unknown",
    f"bloomswarm:{DIGEST}?peer={HERE}&at=x:{DIGEST}": "pins the round",
    f"bloomswarm:{DIGEST}?peer={HERE}&at=4": "pins the round",
    f"bloomswarm:{DIGEST}?peer={HERE}&at=4:{DIGEST}&at=5:{DIGEST}": "unknown or twice",
    f"bloomswarm:{DIGEST}?"
    + "&".join(f"peer={HERE.replace('4001', str(port))}" for port in range(1, 30)): "names 29 peers",
    "bloomswarm:" + "a" * MAX_LINK: "characters",
}


@pytest.mark.parametrize("text", list(MALFORMED))
def test_a_malformed_link_is_one_clear_line(text: str) -> None:
    with pytest.raises(LinkError) as error:
        parse(text)
    message = str(error.value)
    assert MALFORMED[text] in message
    assert "\n" not in message
    assert len(message) < 400
    assert "ask for the link again" in message


def told(text: str) -> str:
    """What a person is told about `text`; empty where it is a link. Nothing but a LinkError may come of it."""
    try:
        parse(text)
    except LinkError as error:
        return str(error)
    return ""


@given(st.text(max_size=300) | st.builds(lambda tail: f"bloomswarm:{DIGEST}?{tail}", st.text(max_size=300)))
def test_nothing_but_a_link_error_comes_of_any_text(text: str) -> None:
    assert told(text).isprintable()


@given(links, st.integers(0, 400), st.characters())
def test_nothing_but_a_link_error_comes_of_a_damaged_link(link: Link, place: int, character: str) -> None:
    text = str(link)
    assert told(text[:place] + character + text[place + 1 :]).isprintable()

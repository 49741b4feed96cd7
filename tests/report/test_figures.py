import re

from acl_tf.report.figures import draw, line
from acl_tf.report.series import style


def painted(key: str = "k", title: str = "t") -> str:
    return draw(key, title, lambda axes: line(axes, 11, [1.0, 2.0], [3.0, 4.0]))


def test_nothing_is_fetched_and_nothing_refers_outside():
    svg = painted()
    assert (
        svg.startswith("<svg ")
        and "//" not in svg
        and "<metadata" not in svg
        and "<style" not in svg
        and "xlink" not in svg
    )
    identifiers = set(re.findall(r' id="([^"]*)"', svg))
    references = set(re.findall(r'(?:href="#|url\(#)([^")]*)', svg))
    assert references and references <= identifiers
    assert all(name.startswith("k-") for name in identifiers)


def test_colours_are_the_page_s():
    svg = painted()
    assert not re.search(r"#0[0-9a-f]{5}", svg)
    assert "stroke: var(--series-1)" in svg and "currentColor" in svg and "var(--rule)" in svg


def test_it_is_the_same_again():
    assert painted() == painted() != painted("l")


def test_a_title_cannot_break_out():
    assert "<script" not in painted(title='"><script>')


def test_what_looks_like_mathematics_is_text():
    svg = draw("k", "t", lambda axes: axes.set_xlabel("a$b$<c>"))
    assert ">a$b$&lt;c&gt;<" in svg


def test_thirty_runs_look_different():
    assert len({style(number)[:2] for number in range(30)}) == 30

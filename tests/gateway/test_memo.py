"""What is made once of one object."""

from argosy.gateway.memo import Memo


def test_it_is_made_again_for_another_object_and_after_a_round_without_it():
    memo, made = Memo[int](), list[object]()

    def get(name: str, of: object) -> int:
        return memo.get(name, of, lambda: made.append(of) or len(made))

    one, other = [1], [1]
    assert [get("a", one), get("a", one), get("b", one)] == [1, 1, 2]
    memo.turn()
    assert [get("a", one), get("a", other), get("a", other)] == [1, 3, 3]
    memo.turn()
    memo.turn()
    assert get("a", other) == 4

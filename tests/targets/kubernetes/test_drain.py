"""Which pods go: single decisions, and a cluster that is simulated with everything that can come in between."""

from dataclasses import dataclass, field

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from argosy.targets.kubernetes.drain import Moves, Standing, State, decide, release
from argosy.targets.kubernetes.observe import Pod
from tests.targets.kubernetes.samples import pod


def test_who_is_not_ready_goes_first_then_who_is_young():
    pods = [pod("old", born=1.0), pod("young", born=3.0), pod("starts", born=2.0, ready=False)]
    moves, state = decide(Standing(want=1, told=3, pods=pods), State())
    assert moves == Moves(mark=("starts", "young"))
    assert state.victims == {"starts": False, "young": False}


def test_the_number_is_lowered_once_all_are_marked_and_released():
    pods = [pod("a", born=1.0), pod("b", born=2.0, marked=True), pod("c", born=3.0, marked=True)]
    observed = Standing(want=1, told=3, pods=pods)
    _, state = decide(observed, State())
    for released, told in (([], None), (["b"], None), (["c"], 1)):
        state = release(state, released)
        moves, state = decide(observed, state)
        assert moves.replicas == told
    unseen = [pods[0], msgspec.structs.replace(pods[1], marked=False), pods[2]]
    assert decide(Standing(want=1, told=3, pods=unseen), state)[0] == Moves(mark=("b",))


def test_more_pods_are_asked_for_at_once_and_victims_serve_again():
    pods = [pod("a"), pod("b", marked=True)]
    moves, state = decide(Standing(want=3, told=2, pods=pods), State(victims={"b": True}))
    assert (moves, state) == (Moves(replicas=3, unmark=("b",)), State())


def test_pods_that_were_never_made_need_no_drain():
    assert decide(Standing(want=1, told=5, pods=[pod("a")]), State())[0].replicas == 1


def test_pods_of_a_node_that_will_go_serve_until_others_do():
    here = [pod("a", born=1.0, node="n1"), pod("b", born=2.0, host="10.0.0.1"), pod("c", born=3.0, node="n2")]
    observed = Standing(want=3, told=3, pods=here, leaving=("n1", "10.0.0.1"))
    moves, state = decide(observed, State())
    assert (moves, state) == (Moves(replicas=5), State())
    new = [pod("d", born=4.0, node="n2"), pod("e", born=5.0, node="n2", ready=False)]
    observed = msgspec.structs.replace(observed, told=5, pods=here + new)
    assert decide(observed, state) == (Moves(), State())
    observed = msgspec.structs.replace(observed, pods=[*here, new[0], msgspec.structs.replace(new[1], ready=True)])
    moves, state = decide(observed, state)
    assert sorted(moves.mark) == ["a", "b"]
    marked = [msgspec.structs.replace(each, marked=each.name in "ab") for each in observed.pods]
    moves, _ = decide(msgspec.structs.replace(observed, pods=marked), release(state, ["a", "b"]))
    assert moves == Moves(replicas=3)


@dataclass
class Cluster:
    """A ReplicaSet, a gateway that follows, and a controller that looks now and then."""

    want: int = 2
    told: int = 0
    now: float = 0.0
    pods: dict[str, Pod] = field(default_factory=dict)
    routed: set[str] = field(default_factory=set)
    leaving: tuple[str, ...] = ()
    state: State = field(default_factory=State)

    def observe(self) -> Standing:
        return Standing(want=self.want, told=self.told, pods=tuple(self.pods.values()), leaving=self.leaving)

    def control(self) -> None:
        moves, self.state = decide(self.observe(), self.state)
        for name in (*moves.mark, *moves.unmark):
            self.set(name, marked=name in moves.mark)
        if moves.replicas is not None:
            self.told = moves.replicas
            self.sync(ours=True)

    def sync(self, *, ours: bool = False) -> None:
        """What a ReplicaSet does. Nothing that takes traffic may die by our doing."""
        here = [each for each in self.pods.values() if each.here]
        for _ in range(self.told - len(here)):
            self.now += 1
            name = f"p{self.now:.0f}"
            node = next(each for each in ("n1", "n2", "n3") if each not in self.leaving)
            self.pods[name] = pod(name, born=self.now, ready=False, node=node)
        order = sorted(here, key=lambda each: (each.ready, not each.marked, -each.born))
        for each in order[: max(0, len(here) - self.told)]:
            assert not ours or each.name not in self.routed, f"{each.name} takes traffic"
            self.set(each.name, leaving=True)

    def set(self, name: str, **changed: object) -> None:
        if name in self.pods:
            self.pods[name] = msgspec.structs.replace(self.pods[name], **changed)

    def follow(self) -> None:
        """The gateway takes up what is ready and no victim; what it does not have is then released."""
        serving = {each.name for each in self.pods.values() if each.ready and each.here}
        self.routed = serving - self.state.victims.keys()
        self.state = release(self.state, [name for name in self.state.victims if name not in self.routed])

    def step(self, event: str, number: int) -> None:
        names = sorted(self.pods)
        name = names[number % len(names)] if names else ""
        if event == "want":
            self.want = number % 4
        elif event == "ready":
            self.set(name, ready=True)
        elif event == "unready":
            self.set(name, ready=False)
            self.follow()  # its phase says so as soon as it is seen
        elif event == "deleted":
            self.set(name, leaving=True)
            self.sync()
        elif event == "gone" and name and not self.pods[name].here:
            del self.pods[name]
        elif event == "vacate":
            self.leaving = ("n1", "n2")[: number % 3]
        elif event == "restart":
            self.state = State()
        elif event == "follow":
            self.follow()
        elif event == "control":
            self.control()


events = st.sampled_from(
    ["want", "ready", "unready", "deleted", "gone", "restart", "vacate", "follow", "control", "control"]
)


@given(st.lists(st.tuples(events, st.integers(0, 20)), max_size=60))
def test_nothing_that_takes_traffic_is_deleted_by_us_and_in_the_end_all_is_as_wanted(steps: list[tuple[str, int]]):
    cluster = Cluster()
    for event, number in steps:
        cluster.step(event, number)
    for _ in range(12):
        cluster.control()
        cluster.sync()
        for name in list(cluster.pods):
            cluster.set(name, ready=cluster.pods[name].here)
            cluster.step("gone", sorted(cluster.pods).index(name))
        cluster.follow()
    left = [each for each in cluster.pods.values() if each.here]
    assert len(left) == cluster.want == cluster.told == len(cluster.routed)
    assert not any(each.marked or each.node in cluster.leaving for each in left)

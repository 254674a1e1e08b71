"""The black box: budgets hold, copies learn from labels alone, endpoints are asked only where that is allowed."""

import copy
import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
import torch

import lab
from lab.cli import main
from lab.experiments.blackbox.curves import Extraction, copy_curve, extract, prepare, query_curve, scored
from lab.experiments.blackbox.oracle import ALLOWED, BudgetError, Oracle, Remote, labels_of
from lab.experiments.blackbox.server import endpoint
from lab.experiments.blackbox.substitute import Substitute, augmented, balanced, copy_oracle
from lab.images import encode
from lab.progress import Cancelled, Progress
from lab.types import DataError, ParamError


@pytest.fixture(scope="module")
def digits():
    return lab.load_data("mnist")


@pytest.fixture(scope="module")
def softmax():
    return lab.load_model("mnist/softmax")


@pytest.fixture(scope="module")
def server(softmax):
    with endpoint(softmax, port=0) as found:
        thread = threading.Thread(target=found.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{found.server_address[1]}/label"
        found.shutdown()
        thread.join()


QUICK = Substitute(rounds=3, epochs=3)


def test_a_budget_cannot_be_exceeded_and_a_refused_question_is_not_asked():
    asked = []
    oracle = Oracle(lambda x: asked.append(len(x)) or torch.zeros(len(x), dtype=torch.int64), 10)
    oracle(torch.rand(7, 1, 4, 4))
    with pytest.raises(BudgetError, match="4 queries are more than the 3 left of 10"):
        oracle(torch.rand(4, 1, 4, 4))
    oracle(torch.rand(3, 1, 4, 4))
    assert asked == [7, 3]
    assert (oracle.queries, oracle.left) == (10, 0)


@pytest.mark.parametrize("budget", [0, -1, 1.5, True])
def test_a_budget_is_a_whole_number(budget):
    with pytest.raises(ParamError, match="whole number"):
        Oracle(lambda x: x, budget)


def test_the_copy_sees_labels_only(digits, softmax):
    class Alone(torch.nn.Module):
        def forward(self, x):
            assert not torch.is_grad_enabled()
            assert not x.requires_grad
            return softmax(x)

    rounds = list(copy_oracle(Oracle(labels_of(Alone()), 10_000), digits.x[:20], 10, QUICK))
    assert [r.queries for r in rounds] == [20, 40, 80, 160] == [len(r.x) for r in rounds]
    assert all(torch.equal(r.labels, softmax(r.x).argmax(1)) for r in rounds)


def test_the_copy_comes_to_agree_with_the_oracle_and_its_examples_carry_over(digits, softmax):
    first, rest = balanced(digits, 150)
    judge, oracle = prepare(labels_of(softmax), rest.rows(slice(0, 300)), 4800, 5, counted=False)
    found = list(scored(copy_oracle(oracle, first.x, 10, Substitute(rounds=5)), judge, jsma=5))
    start, end = found[0].score, found[-1].score
    assert start.agreement <= 0.5
    assert end.agreement >= 0.78
    assert end.fgsm >= max(0.8, end.noise + 0.2)
    assert found[-1].round.queries == oracle.queries == 4800
    assert end.jsma is not None
    with torch.no_grad():
        last = found[-1].round
        agree = (last.net(judge.data.x).argmax(1) == softmax(judge.data.x).argmax(1)).double().mean()
    assert end.agreement == pytest.approx(float(agree))


def test_the_same_seed_gives_the_same_copy(digits, softmax):
    def last(seed):
        *_, end = copy_oracle(Oracle(labels_of(softmax), 999), digits.x[:20], 10, QUICK, seed=seed)
        return end

    one, two, other = last(1), last(1), last(2)
    assert torch.equal(one.x, two.x)
    assert all(torch.equal(a, b) for a, b in zip(one.net.parameters(), two.net.parameters(), strict=True))
    assert not torch.equal(one.x, other.x)


def test_the_last_round_takes_what_the_budget_leaves(digits, softmax):
    oracle = Oracle(labels_of(softmax), 50)
    rounds = list(copy_oracle(oracle, digits.x[:20], 10, QUICK))
    assert [r.queries for r in rounds] == [20, 40, 50]
    assert oracle.left == 0


def test_later_rounds_add_a_sample_and_the_step_turns(digits, softmax):
    settings = Substitute(rounds=4, epochs=1, doubling=1, sample=15, period=2)
    assert settings.queries(20) == 20 + 20 + 15 * 3
    copies, end = [], None
    for end in copy_oracle(Oracle(labels_of(softmax), 999), digits.x[:20], 10, settings):
        copies.append(copy.deepcopy(end.net))
    assert end.queries == settings.queries(20)
    assert end.fresh == 15
    for number, way in enumerate((1, 1, -1, -1)):  # two rounds one way, two the other
        before, after = (20, 40, 55, 70, 85)[number : number + 2]
        steps = [
            augmented(copies[number], end.x[:before], end.labels[:before], s * way * settings.step) for s in (1, -1)
        ]
        right, wrong = (torch.cdist(end.x[before:after].flatten(1), each.flatten(1)).amin(1) for each in steps)
        assert (right < 0.05).all()
        assert (wrong > 0.1).all()
    images, labels = digits.x[:20], digits.y[:20]
    up, down = (augmented(softmax, images, labels, step) for step in (0.1, -0.1))
    inside = (images > 0.1) & (images < 0.9)
    assert torch.allclose((up + down)[inside] / 2, images[inside], atol=1e-6)
    rise = softmax(up).gather(1, labels[:, None]) - softmax(images).gather(1, labels[:, None])
    assert (rise > 0).all()


def test_rounds_are_independent_of_what_comes_after(digits, softmax):
    rounds = copy_oracle(Oracle(labels_of(softmax), 999), digits.x[:20], 10, QUICK)
    first = next(rounds)
    before = first.net(digits.x[:5])
    list(rounds)
    assert torch.equal(first.net(digits.x[:5]), before)


def test_a_stopped_copy_has_no_half_trained_round(digits, softmax):
    heard = []
    progress = Progress(lambda share, names: heard.append((share, names)), stop=lambda: len(heard) > 4)
    rounds = list(copy_oracle(Oracle(labels_of(softmax), 999), digits.x[:20], 10, QUICK, progress=progress))
    assert [r.number for r in rounds] == [0]
    assert not rounds[-1].last
    assert [share for share, _ in heard] == sorted(share for share, _ in heard)
    assert heard[-1][1] == ("round 2 of 4",)


def test_the_record_and_the_rows_hold_every_round_and_what_it_depends_on(digits, softmax):
    first, rest = balanced(digits, 20, 4)
    test, given = rest.rows(slice(0, 30)), {"budget": 70, "counted": False, "eps": 0.2, "seed": 4}
    grown = list(extract(labels_of(softmax), first.x, 10, test, QUICK, **given))
    results = [Extraction(r, "mnist/softmax", "mnist", "20", len(test), 70, 0.2, QUICK, 4) for r in grown]
    assert [result.complete for result in results] == [False, False, True]
    record = json.loads(json.dumps(results[-1].record()))
    assert record["rounds"] == results[-1].rows()
    assert [row["queries"] for row in record["rounds"]] == [20, 40, 70]
    assert record | {"rounds": None} == {
        "oracle": "mnist/softmax",
        "dataset": "mnist",
        "initial": "20",
        "test_images": 30,
        "budget": 70,
        "eps": 0.2,
        "seed": 4,
        "settings": record["settings"],
        "complete": True,
        "rounds": None,
    }
    assert Substitute(**record["settings"]) == QUICK


def test_there_is_no_share_of_no_images(digits, softmax):
    wrong = digits.rows(slice(0, 20))
    wrong = type(wrong)(wrong.x, (softmax(wrong.x).argmax(1) + 1) % 10, wrong.ids)
    judge, oracle = prepare(labels_of(softmax), wrong, 100, 0, counted=False)
    (only,) = scored(copy_oracle(oracle, digits.x[20:40], 10, Substitute(rounds=0, epochs=1)), judge, jsma=2)
    assert (only.score.n, only.score.fgsm, only.score.jsma, only.score.noise) == (0, None, None, None)


def test_initial_images_are_as_many_of_each_class_and_not_among_the_rest(digits):
    first, rest = balanced(digits, 30)
    assert torch.bincount(first.y, minlength=10).tolist() == [3] * 10
    assert not set(first.ids) & set(rest.ids)
    assert len(first) + len(rest) == len(digits)
    with pytest.raises(DataError, match="can be drawn"):
        balanced(digits, len(digits))


def test_the_course_counts_images_fooled_within_epsilon(digits, softmax):
    x, y = digits.x[:6], softmax(digits.x[:6]).argmax(1)
    found = query_curve("square", softmax, x, y, 0.3, steps=60)
    assert list(found.queries) == sorted(set(found.queries))
    assert list(found.success) == sorted(found.success)
    attacked = lab.attack("square", softmax, x, y, eps=0.3, steps=60)
    assert found.success[-1] == pytest.approx(float(attacked.success.double().mean()))
    assert list(found.together.queries) == [6 * queries for queries in found.queries]
    labels = query_curve("hopskipjump", softmax, x, y, 1e-4)
    assert labels.success[-1] == 0
    with pytest.raises(Cancelled):
        query_curve("square", softmax, x, y, 0.3, progress=Progress(stop=lambda: True))


def test_the_copys_curve_counts_labels_once_for_all_images(digits, softmax):
    first, rest = balanced(digits, 20)
    test, ask = rest.rows(slice(0, 30)), labels_of(softmax)
    *_, rounds = extract(ask, first.x, 10, test, QUICK, budget=999, counted=False)
    right = ask(test.x) == test.y
    curve = copy_curve(rounds, ask, test.x[right], test.y[right], 0.3)
    assert curve.queries == (20, 40, 80, 160)
    assert list(curve.success) == pytest.approx([each.score.fgsm for each in rounds])


def test_an_endpoint_answers_as_the_model_does(server, digits, softmax):
    remote = Remote(server, 10)
    assert torch.equal(remote(digits.x[:8]), softmax(digits.x[:8]).argmax(1))
    assert len(remote(digits.x[:0])) == 0


def test_looking_at_an_endpoint_costs_its_budget_too(server, digits):
    remote, data = Remote(server, 10), digits.rows(slice(100, 120))
    with pytest.raises(BudgetError, match="measuring on 20 test images takes"):
        prepare(remote, data, 60, 2, counted=True)
    asked = []
    ask = lambda x: asked.append(len(x)) or remote(x)  # noqa: E731
    judge, oracle = prepare(ask, data, 150, 1, counted=True)
    list(scored(copy_oracle(oracle, digits.x[:20], 10, Substitute(rounds=1, epochs=1)), judge))
    assert sum(asked) <= 150


@pytest.mark.parametrize(
    "url",
    [
        "http://example.com/label",
        "http://169.254.169.254/latest",
        "http://127.0.0.1.example.com/",
        "http://user@127.0.0.1/",
        "ftp://127.0.0.1/",
        "file:///etc/passwd",
        "127.0.0.1:80",
        "http://127.0.0.1:99999/",
        "http://[::1",
        "",
    ],
)
def test_only_allowed_addresses_are_asked(url):
    with pytest.raises(ParamError, match=r"not among the addresses|looks like"):
        Remote(url, 10)


def test_the_operator_says_which_addresses(monkeypatch):
    monkeypatch.setenv(ALLOWED, "oracle.example:9000, [2001:db8::1]")
    Remote("http://oracle.example:9000/label", 10)
    Remote("http://[2001:db8::1]/label", 10)
    for url in ("http://oracle.example/label", "http://127.0.0.1:8600/label"):
        with pytest.raises(ParamError, match=ALLOWED):
            Remote(url, 10)
    monkeypatch.setenv(ALLOWED, "")
    with pytest.raises(ParamError, match="none"):
        Remote("http://127.0.0.1:8600/label", 10)


@pytest.mark.parametrize(
    ("status", "headers", "body", "said"),
    [
        (302, {"Location": "http://127.0.0.1:1/"}, b"", "status 302"),
        (500, {}, b"oops", "status 500"),
        (200, {}, b"7", "must answer"),
        (200, {}, b'{"label": 10}', "must answer"),
        (200, {}, b'{"label": true}', "must answer"),
        (200, {}, b'{"label": "7"}', "must answer"),
        (200, {}, b'{"label": 1, "x": "' + b"x" * 5000 + b'"}', "must answer"),
        (200, {}, b"\xff\xfe", "must answer"),
    ],
)
def test_what_is_no_label_is_refused_in_one_sentence(status, headers, body, said):
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args):
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as found:
        thread = threading.Thread(target=found.serve_forever, daemon=True)
        thread.start()
        with pytest.raises(DataError, match=said):
            Remote(f"http://127.0.0.1:{found.server_address[1]}/", 10)(torch.rand(1, 1, 4, 4))
        found.shutdown()
        thread.join()


def test_an_endpoint_that_is_not_there_is_tried_again_and_told():
    with pytest.raises(DataError, match=r"no answer in 3 tries.*running"):
        Remote("http://127.0.0.1:1/label", 10, pause=0.01)(torch.rand(1, 1, 4, 4))


def test_the_endpoint_refuses_what_is_no_picture(server):
    import http.client
    from urllib.parse import urlsplit

    where = urlsplit(server)
    for body, headers in ((b"no picture", {}), (b"", {}), (b"x", {"Content-Length": "99999999"})):
        connection = http.client.HTTPConnection(where.hostname, where.port, timeout=5)
        connection.request("POST", "/label", body, headers)
        answer = connection.getresponse()
        assert answer.status == 400
        assert "error" in json.loads(answer.read())
        connection.close()
    connection = http.client.HTTPConnection(where.hostname, where.port, timeout=5)
    connection.request("POST", "/label", encode(torch.rand(1, 40, 30)))
    assert set(json.loads(connection.getresponse().read())) == {"label", "class"}
    connection.close()


def test_the_command_line_copies_a_model_and_an_endpoint(tmp_path, capsys, server):
    file = tmp_path / "rounds.json"
    quick = ["--initial", "20", "--limit", "20", "--param", "rounds=1", "--param", "epochs=1", "--dataset", "mnist"]
    for oracle in ("mnist/softmax", server):
        assert main(["blackbox", "--oracle", oracle, *quick, "--json", str(file)]) == 0
        told = json.loads(file.read_text(encoding="utf-8"))
        assert [r["queries"] for r in told["rounds"]] == [20, 40]
        assert (told["oracle"], told["dataset"], told["initial"], told["complete"]) == (oracle, "mnist", "20", True)
        assert "agreement" in capsys.readouterr().out
    assert main(["blackbox", "--oracle", "mnist/softmax", *quick, "--budget", "10"]) == 2
    assert main(["blackbox", "--oracle", "fashion_mnist/softmax", *quick]) == 2
    assert main(["blackbox", "--oracle", "http://example.com/", *quick]) == 2
    assert all(line.startswith("lab: ") for line in capsys.readouterr().err.splitlines())

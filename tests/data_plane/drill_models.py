"""Models for the drills: weights by the real library, descriptions and registrations by the real MLflow."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

from tests.data_plane.environments import environment
from tests.data_plane.test_mlflow import Mlflow

_WEIGHTS = """
import json, sys
from pathlib import Path
import numpy
from safetensors.numpy import save_file

folder = Path(sys.argv[1])
drawn = numpy.random.default_rng(7)
width, vocabulary, layers = 64, 512, 4
tensors = {"model.embed_tokens.weight": (vocabulary, width), "lm_head.weight": (vocabulary, width)}
for layer in range(layers):
    for name in ("q_proj", "k_proj", "v_proj", "o_proj"):
        tensors[f"model.layers.{layer}.self_attn.{name}.weight"] = (width, width)
shards = (list(tensors)[:2], list(tensors)[2:])
places = {}
for number, names in enumerate(shards, 1):
    file = f"model-0000{number}-of-00002.safetensors"
    made = {name: drawn.standard_normal(tensors[name]).astype(numpy.float16) for name in names}
    save_file(made, folder / file, metadata={"format": "pt"})
    places.update(dict.fromkeys(names, file))
size = 2 * sum(rows * columns for rows, columns in tensors.values())
index = {"metadata": {"total_size": size}, "weight_map": places}
(folder / "model.safetensors.index.json").write_text(json.dumps(index))
(folder / "config.json").write_text(json.dumps(
    {"model_type": "llama", "architectures": ["LlamaForCausalLM"], "hidden_size": width, "vocab_size": vocabulary}))
(folder / "generation_config.json").write_text("{}")
tokenizer = folder.parent / "components" / "tokenizer"
tokenizer.mkdir(parents=True)
words = {f"word{index}": index for index in range(vocabulary)}
(tokenizer / "tokenizer.json").write_text(json.dumps({"model": {"type": "WordLevel", "vocab": words}}))
(tokenizer / "tokenizer_config.json").write_text('{"tokenizer_class": "PreTrainedTokenizerFast"}')
"""

# As `mlflow.transformers.log_model` writes it; Transformers itself is not in the image of the server.
_REGISTERED = """
    import json, os, pathlib
    import mlflow
    from mlflow import MlflowClient
    from mlflow.models import Model

    folder = pathlib.Path(os.environ["FOLDER"])
    (folder / "conda.yaml").write_text("dependencies: [python=3.11]")
    (folder / "python_env.yaml").write_text("python: 3.11.7")
    model = Model()
    model.add_flavor("transformers", task="text-generation", instance_type="TextGenerationPipeline", framework="pt",
        pipeline_model_type="LlamaForCausalLM", model_binary="model", components=["tokenizer"],
        tokenizer_type="PreTrainedTokenizerFast", transformers_version="5.23.0")
    model.add_flavor("python_function", loader_module="mlflow.transformers", python_version="3.11.7",
        env={"conda": "conda.yaml", "virtualenv": "python_env.yaml"})
    model.save(folder / "MLmodel")
    client = MlflowClient()
    mlflow.set_experiment("models-of-drills")
    with mlflow.start_run() as run:
        mlflow.log_artifacts(str(folder), "chat")
    uri = f"{run.info.artifact_uri}/chat"
    client.create_registered_model("chat")
    client.create_model_version("chat", uri, run.info.run_id)
    client.set_registered_model_alias("chat", "production", "1")
    print(json.dumps({"uri": uri}))
"""

_CLASSIC = """
    import json
    import mlflow
    from mlflow import MlflowClient
    from sklearn.linear_model import LinearRegression

    model = LinearRegression().fit([[1.0], [2.0]], [2.0, 4.0])
    mlflow.set_experiment("models-of-drills")
    with mlflow.start_run():
        # What it needs is said, or MLflow starts another process to find it out.
        mlflow.sklearn.log_model(
            model, name="classic", registered_model_name="classic", pip_requirements=["scikit-learn"])
    print(json.dumps({"version": MlflowClient().get_model_version("classic", "1").version}))
"""


def registered(mlflow: Mlflow, folder: Path) -> str:
    """A model of Transformers with the alias ``production``; returns where it lies."""
    weights = folder / "model"
    weights.mkdir(parents=True)
    python = environment("safetensors") / "bin" / "python"
    subprocess.run([python, "-c", _WEIGHTS, weights], check=True, timeout=120)
    told = mlflow.program(_REGISTERED, folder, FOLDER=str(folder))
    return str(told["uri"])


def classic(mlflow: Mlflow, folder: Path) -> dict[str, Any]:
    """A model of scikit-learn, logged as MLflow logs it."""
    return mlflow.program(_CLASSIC, folder)


def disagreements(folder: Path, programs: Path) -> list[str]:
    """Files that the library and the drills' own reader judge differently."""
    python = environment("safetensors") / "bin" / "python"
    done = subprocess.run(
        [python, "-c", _AGREED, folder, programs], check=True, timeout=120, capture_output=True, text=True
    )
    return done.stdout.splitlines()


_AGREED = """
import sys
from pathlib import Path
from safetensors import SafetensorError, safe_open

sys.path.insert(0, sys.argv[2])
import drill_weights

judged = {True: 0, False: 0}
for file in sorted(Path(sys.argv[1]).iterdir()):
    content = file.read_bytes()
    try:
        with safe_open(file, framework="numpy") as found:
            library = {name: found.get_slice(name).get_shape() for name in found.keys()}
    except SafetensorError:
        library = None
    try:
        ours = drill_weights.opened(lambda start, end: content[start:end], len(content)).names
    except drill_weights.WeightsError:
        ours = None
    judged[library is not None] += 1
    if (set(library) if library is not None else None) != ours:
        print(f"{file.name}: {library} and {ours}")
assert all(judged.values()), "one that opens, and one that does not"
"""

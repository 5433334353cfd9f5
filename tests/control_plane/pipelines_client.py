"""Kubeflow's own client as a member of a team uses it; run with its interpreter: address, namespace, token."""

# pyright: basic, reportMissingImports=false
# kfp is in an environment of its own.

import sys
from pathlib import Path

import kfp
from kfp import dsl


@dsl.component(base_image="registry.test/python:3.12")
def say() -> str:
    return "hello"


@dsl.pipeline(name="hello")
def hello():
    say()


if __name__ == "__main__":
    host, namespace, token = sys.argv[1:]
    client = kfp.Client(host=host, existing_token=token)
    run = client.create_run_from_pipeline_func(hello, experiment_name="sdk", namespace=namespace)
    kfp.compiler.Compiler().compile(hello, "hello.yaml")
    client.upload_pipeline("hello.yaml", pipeline_name="hello", namespace=namespace)
    Path("hello.yaml").unlink()
    print(run.run_id, [one.display_name for one in client.list_pipelines(namespace=namespace).pipelines])

"""Runs of resume_worker.py forked from a server that has imported what is heavy: one takes a second, not ten.

The runs use no loader workers.
"""

import multiprocessing
import os
import signal
import socket
import sys
import time

import resume_worker

# Other people's packages alone: the server's sys.path is not ours. What of these is needed depends on the model.
HEAVY = (
    *("torch._dynamo", "torch.distributed.tensor", "torch.nn.parallel", "torch.utils.data", "torchvision"),
    *("transformers.generation", "transformers.models.bert.modeling_bert", "transformers.models.clip.modeling_clip"),
    *("transformers.models.llama.modeling_llama", "transformers.models.t5.modeling_t5"),
    *("decord", "omegaconf", "safetensors.torch", "sentencepiece", "tokenizers", "tqdm"),
)
SERVER = multiprocessing.get_context("forkserver")
SERVER.set_forkserver_preload(list(HEAVY))


def forked(what, config, options, *, log, world=1, own=None, env=None, timeout=240):
    """Exit codes of `world` processes; what they print goes to the end of the file `log`. own: rank -> its environment.

    As soon as one is killed the others are, as a launcher would.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    place = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": world} if world > 1 else {}
    processes = []
    for rank in range(world):
        ranks = {"RANK": rank, "LOCAL_RANK": rank} if world > 1 else {}
        variables = place | ranks | (env or {}) | (own or {}).get(rank, {})
        given = (what, str(config), list(options), {name: str(value) for name, value in variables.items()}, str(log))
        process = SERVER.Process(target=_process, args=given)
        process.start()
        processes.append(process)
    end = time.monotonic() + timeout
    while any(process.is_alive() for process in processes):
        late = time.monotonic() > end
        if late or any(process.exitcode == -signal.SIGKILL for process in processes):
            for process in processes:
                process.kill()
        assert not late, f"hangs for {timeout} seconds:\n{log.read_text()}"
        time.sleep(0.01)
    return [process.exitcode for process in processes]


def _process(what, config, options, variables, log):
    os.environ.update(variables)
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for stream in (sys.stdout, sys.stderr):
        os.dup2(descriptor, stream.fileno())
    sys.exit(resume_worker.run(what, config, options))

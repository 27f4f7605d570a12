# Sourced by the other scripts. GPUS (processes per machine, default 1) and NNODES (machines, default 1) come from the
# environment; with several machines also NODE_RANK, MASTER_ADDR, MASTER_PORT.
# One process needs neither torchrun nor a GPU.
cd "$(dirname "${BASH_SOURCE[0]}")/.."
PYTHON=python
[ ! -x .venv/bin/python ] || PYTHON=.venv/bin/python

launch() { # launch FILE.py ARGUMENTS...
  local gpus=${GPUS:-1} nodes=${NNODES:-1}
  # A config mistake is told once and plainly, before torchrun would add a report of its own for every process.
  [ $((gpus * nodes)) -eq 1 ] || "$PYTHON" -m vidalign check "$3" "${@:4}" >/dev/null
  if [ "$nodes" -gt 1 ]; then
    "$PYTHON" -m torch.distributed.run --nnodes "$nodes" --nproc_per_node "$gpus" --node_rank "${NODE_RANK:?}" \
      --master_addr "${MASTER_ADDR:?}" --master_port "${MASTER_PORT:-29500}" "$@"
  elif [ "$gpus" -gt 1 ]; then
    "$PYTHON" -m torch.distributed.run --standalone --nproc_per_node "$gpus" "$@"
  else
    "$PYTHON" "$@"
  fi
}

run_folder() { # run_folder CONFIG [key=value ...]: where a training with these settings writes
  local config=$1
  shift
  "$PYTHON" -m vidalign config "$config" --get run.output_dir --options "$@"
}

best_checkpoint() { # best_checkpoint FOLDER: its best checkpoint, its last where nothing was evaluated
  local name found
  for name in best last; do
    for found in "$1/checkpoints/$name"*; do
      [ ! -e "$found" ] || { echo "$found" && return; }
    done
  done
  echo "error: $1/checkpoints holds neither a best nor a last checkpoint; did the training finish?" >&2
  return 2
}

at_once() { # at_once COMMAND ITEM...: COMMAND for every item, ${AT_ONCE:-2} at a time with one thread each
  local command=$1 item running=0
  shift
  export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}
  trap 'kill $(jobs -p) 2>/dev/null || true' EXIT
  for item in "$@"; do
    if [ "$running" -ge "${AT_ONCE:-2}" ]; then
      wait -n # a failure ends the script, and the trap ends the others
      running=$((running - 1))
    fi
    "$command" "$item" &
    running=$((running + 1))
  done
  while [ "$running" -gt 0 ]; do
    wait -n
    running=$((running - 1))
  done
  trap - EXIT
}

#!/usr/bin/env bash
# The three stages of Video-Panda 7B as one Slurm job, the published size: 16 machines of 4 GPUs, 24 hours. A stage that
# is broken off goes on where it was when the job is submitted again; a finished one has nothing left to do.
#   mkdir -p output && sbatch run_scripts/slurm/video_panda_stages.sh [key=value for all stages ...]
#SBATCH --job-name=video_panda
#SBATCH --nodes=16
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=4
#SBATCH --cpus-per-task=32
#SBATCH --mem=480G
#SBATCH --time=24:00:00
#SBATCH --output=output/slurm-%j.out
set -euo pipefail
export GPUS=${GPUS:-4} NNODES=${SLURM_JOB_NUM_NODES:-1} MASTER_PORT=${MASTER_PORT:-29500}
hosts=$(scontrol show hostnames "${SLURM_JOB_NODELIST:?submit me with sbatch}")
# Cut here, not with `head`: what writes into a closed pipe would end the job.
export MASTER_ADDR=${hosts%%$'\n'*}
for stage in valley_prealign valley_pretrain videochatgpt_tune_finetune; do
  # Every machine starts the same script; its number among them is the node rank.
  srun --kill-on-bad-exit=1 bash -c 'NODE_RANK=$SLURM_NODEID bash run_scripts/video_panda/"$0".sh "$@"' "$stage" "$@"
done

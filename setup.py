"""Package metadata. Ranges here, the tested set in constraints.txt, tool settings in pyproject.toml."""

import re
from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).parent
VERSION = re.search(r'__version__ = "([^"]+)"', (HERE / "vidalign" / "__init__.py").read_text(encoding="utf-8"))[1]
README = HERE / "README.md"

# Lower bounds are versions the project was tried with; there are no upper pins.
CORE = [
    "torch>=2.11",
    "torchvision>=0.26",
    "transformers>=5.17",
    "timm>=1.0.31",
    "peft>=0.21",
    "einops>=0.8",
    "pandas>=2.2",
    "omegaconf>=2.3",
    "pyyaml>=6",
    "safetensors>=0.8",
    "sentencepiece>=0.2.1",
    "protobuf>=5",
    "tqdm>=4.66",
    "fairscale>=0.4.13",
    # decord has wheels for this platform only; elsewhere choose `decoder: torchcodec` or `pyav`
    "decord>=0.6.0; sys_platform == 'linux' and platform_machine == 'x86_64'",
]
EXTRAS = {
    "video": ["torchcodec>=0.17", "av>=18"],
    "llama3": ["tiktoken>=0.8"],
    # Only its meteor-1.5.jar is used; the other caption metrics are our own.
    "caption": ["pycocoevalcap>=1.2"],
    # WordNet itself is data that nltk downloads; vidalign/scoring/wups.py says which and from where.
    "wups": ["nltk>=3.9"],
    # LF-VILA-8M's records as the authors store them (train_db)
    "lmdb": ["lmdb>=3.0"],
    "log": ["tensorboard>=2.20"],
    "dev": ["pytest>=9", "pytest-xdist>=3.8", "hypothesis>=6.150", "ruff>=0.15"],
}

setup(
    name="vidalign",
    version=VERSION,
    description="Video-language alignment research in one registry library",
    long_description=README.read_text(encoding="utf-8") if README.exists() else "",
    long_description_content_type="text/markdown",
    python_requires=">=3.11",
    packages=find_packages(include=["vidalign", "vidalign.*"]),
    include_package_data=True,
    install_requires=CORE,
    extras_require=EXTRAS,
    entry_points={"console_scripts": ["vidalign = vidalign.cli:main"]},
)

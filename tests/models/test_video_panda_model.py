"""Video-Panda as a whole, tiny: mixed batches, shared prefixes, weights in and out."""

import copy
import json

import pytest
import torch

from vidalign.checkpoint.folder import read_folder, write_folder
from vidalign.common.errors import CheckpointError, DataError
from vidalign.common.sample import DatasetInfo, Media, Sample
from vidalign.models.video_panda.config import VideoPandaConfig
from vidalign.models.video_panda.keys import canonical, official_name, own_tensors
from vidalign.models.video_panda.model import VideoPanda
from vidalign.models.video_panda.processor import conversation_of
from vidalign.models.video_panda.stage_folder import write_stage_folder

INFO = DatasetInfo(name="made", task="dialogue")
VIDEO, PICTURE = Media(kind="video", video_id="v", path="v.mp4"), Media(kind="frames", video_id="p", path="p.jpg")


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


def config(**values):
    return VideoPandaConfig(**{"size": "tiny", "dtype": "float32", "max_length": 512, "max_new_tokens": 6, **values})


def model_of(cache, **values):
    torch.manual_seed(0)
    return VideoPanda.from_config(config(**values), cache_dir=cache)


def talk(uid, *texts, media=None):
    return Sample(uid=uid, dataset="made", split="train", task="dialogue", media=media, texts=texts)


def picture(seed, frames, height=24, width=40):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (frames, height, width, 3), dtype=torch.uint8, generator=generator)


def mixed_batch(model):
    processor = model.processor(INFO, train=True, seed=0)
    items = [
        processor(talk("a", "<video>\nwhat is it?", "a ball", media=VIDEO), picture(0, 8)),
        processor(talk("b", "only words?", "yes"), None),
        processor(talk("c", "what is here?\n<image>", "a cup", media=PICTURE), picture(1, 1, 40, 24)),
        processor(talk("d", "<video>\nand now?", "it falls", media=VIDEO), picture(2, 5, 30, 30)),
    ]
    return processor.collate(items)


def dropless(model):
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    return model


def test_a_batch_of_videos_pictures_and_texts_trains_fast_as_exact(cache):
    model = dropless(model_of(cache, stage="pretrain"))
    batch = mixed_batch(model)
    found = {}
    for name, exact in (("fast", False), ("exact", True)):
        own = copy.deepcopy(model).train()
        own.exact = exact
        own.lm.set_attn_implementation("eager" if exact else "sdpa")
        output = own(batch)
        output.total.backward()
        found[name] = output.losses, {n: p.grad for n, p in own.named_parameters() if p.grad is not None}
    for loss in ("llm", "alignment"):
        torch.testing.assert_close(found["fast"][0][loss], found["exact"][0][loss], rtol=1e-4, atol=1e-5)
    assert found["fast"][1].keys() == found["exact"][1].keys() and "teacher" not in "".join(found["fast"][1])
    for name, grad in found["exact"][1].items():
        torch.testing.assert_close(
            found["fast"][1][name], grad, rtol=5e-3, atol=1e-4, msg=lambda t, n=name: f"{n}: {t}"
        )
    counts = model.supervised_counts(batch)
    assert int(counts["alignment"]) == 13 and int(counts["llm"]) == len(batch["plan"]["targets"])


def test_a_batch_of_texts_alone_trains(cache):
    model = model_of(cache, stage="pretrain")
    processor = model.processor(INFO, train=True, seed=0)
    batch = processor.collate([processor(talk("a", "only words?", "yes"), None)])
    output = model(batch)
    output.total.backward()
    assert float(output.losses["alignment"].detach()) == 0.0 and float(output.losses["llm"].detach()) > 0


def test_stages_train_what_they_should(cache):
    for stage, trains in (("prealign", False), ("pretrain", True), ("finetune", True)):
        model = model_of(cache, stage=stage, learning_rates=None)
        names = set(model.trained_parameters())
        assert any(name.startswith("lm.") for name in names) == trains
        assert {"video_tower.balance", "video_projector.0.weight", "video_tower_compressor.input_layer.bias"} <= names
        assert not any(name.startswith(("teacher.", "video_tower.lmhra2.")) for name in names)
    assert not model_of(cache, stage="evaluate").trained_parameters()


def test_questions_about_one_video_are_answered_as_alone(cache):
    model = model_of(cache, stage="evaluate").eval()
    processor = model.processor(INFO, train=False, seed=0)
    clips = {"v.mp4": picture(0, 8), "w.mp4": picture(1, 3, 40, 24)}
    items = [
        processor(
            Sample(
                uid=f"{path}{number}",
                dataset="made",
                split="val",
                task="open_qa",
                media=Media(kind="video", video_id=path, path=path),
                question=question,
            ),
            frames,
        )
        for path, frames in clips.items()
        for number, question in enumerate(("what?", "who opens the door now?", "where is the cat"))
    ]
    batch = processor.collate(items)
    assert len(batch["clips"]) == 2 and batch["owner"].tolist() == [0, 0, 0, 1, 1, 1]
    together = model.generate_ids(batch)
    alone = [model.generate_ids(processor.collate([item]))[0] for item in items]
    assert together == alone and len(model.generate(batch, max_new_tokens=2)) == 6


def test_cached_answers_are_those_of_the_whole_forward(cache):
    model = model_of(cache, stage="evaluate").eval()
    processor = model.processor(INFO, train=False, seed=0)
    question = Sample(uid="q", dataset="made", split="val", task="open_qa", media=VIDEO, question="what?")
    batch = processor.collate([processor(question, picture(0, 8))])
    [made] = model.generate_ids(batch)
    ids = batch["question_ids"][0].tolist()
    for step, token in enumerate(made):
        embed = model.lm.get_input_embeddings()
        x = torch.cat([model.embedded(batch)[0], embed(torch.tensor(ids + made[:step]))])[None]
        logits = model.lm.lm_head(model.lm.model(inputs_embeds=x, use_cache=False).last_hidden_state[0, -1])
        assert logits[token] >= logits.max() - 1e-4


def eve_folder(folder, model, shards=2):
    """A file as EVE's: image names, its image teacher, nothing of what only Video-Panda has."""
    names = {"model.video_tower.": "model.vision_tower.", "model.video_projector.": "model.mm_projector."}
    names["model.video_tower_compressor."] = "model.vision_tower_compressor."
    own = ("patch_embedding", "class_embedding", "split_embedding", "local_attention", "global_attention")
    state = {}
    for name, tensor in own_tensors(model).items():
        name = official_name(name)
        prefix = next((one for one in names if name.startswith(one)), None)
        if prefix == "model.video_tower." and not name.removeprefix(prefix).startswith(own):
            continue
        state[name if prefix is None else names[prefix] + name.removeprefix(prefix)] = tensor.to(torch.bfloat16)
    state["model.vision_clip.vision_tower.vision_model.embeddings.class_embedding"] = torch.zeros(4)
    size = sum(tensor.numel() * 2 for tensor in state.values())
    write_folder(folder, state, max_bytes=size // shards)
    sizes = model.lm.config
    text = {"model_type": "eve", "hidden_size": sizes.hidden_size, "num_hidden_layers": sizes.num_hidden_layers}
    text |= {"num_attention_heads": sizes.num_attention_heads, "intermediate_size": sizes.intermediate_size}
    text |= {"vocab_size": sizes.vocab_size, "rms_norm_eps": 1e-5, "mm_vision_tower": "somewhere"}
    (folder / "config.json").write_text(json.dumps(text))
    return state


def test_an_eve_folder_loads_without_an_edited_config(cache, tmp_path):
    state = eve_folder(tmp_path, model_of(cache, stage="pretrain"))
    assert len(list(tmp_path.glob("pytorch_model-*.bin"))) >= 2
    model = VideoPanda.from_config(config(weights=str(tmp_path), stage="pretrain"), cache_dir=cache)
    loaded = {official_name(name): tensor for name, tensor in own_tensors(model).items()}
    for name, tensor in canonical(state).items():
        assert torch.equal(loaded[name], tensor.float()), name
    with torch.device("meta"):
        VideoPanda.from_config(config(weights=str(tmp_path), stage="pretrain"), cache_dir=cache)


def test_a_folder_that_lacks_a_weight_is_refused(cache, tmp_path):
    eve_folder(tmp_path, model_of(cache, stage="pretrain"), shards=1)
    state = read_folder(tmp_path)
    del state["model.norm.weight"]
    write_folder(tmp_path, state)
    with pytest.raises(CheckpointError, match=r"missing: model\.norm\.weight"):
        VideoPanda.from_config(config(weights=str(tmp_path), stage="pretrain"), cache_dir=cache)


def test_stage_folders_go_out_and_in(cache, tmp_path):
    eve, out = tmp_path / "eve", tmp_path / "stage"
    eve.mkdir()
    eve_folder(eve, model_of(cache, stage="pretrain"))
    trained = VideoPanda.from_config(config(weights=str(eve), stage="prealign"), cache_dir=cache)
    with torch.no_grad():
        trained.video_tower.balance.fill_(0.5)
    exported = trained.export_state()
    assert not any(name.startswith("model.layers.") for name in exported)
    settings = {"model.weights": str(eve), "model.size": "tiny"}
    write_stage_folder(exported, setting=settings.get, folder=out)
    files = read_folder(out)
    assert torch.equal(files["model.vision_tower.balance"], files["model.video_tower.balance"])
    assert json.loads((out / "config.json").read_text())["model_type"] == "videopanda"
    again = VideoPanda.from_config(config(weights=str(out), stage="finetune"), cache_dir=cache)
    for name, tensor in own_tensors(trained).items():
        torch.testing.assert_close(own_tensors(again)[name].float(), tensor.to(torch.bfloat16).float(), msg=name)
    # A checkpoint of stage one into a model of stage two: the visual part is complete, the language model stays.
    again.load_state(exported)
    assert torch.equal(again.video_tower.balance, trained.video_tower.balance)
    with pytest.raises(CheckpointError, match="missing"):
        again.load_state({name: t for name, t in exported.items() if "dpe" not in name})


def test_two_videos_in_one_conversation_are_refused(cache):
    processor = model_of(cache, stage="pretrain").processor(INFO, train=True, seed=0)
    item = processor(talk("twice", "<video>\nand\n<video> what?", "it", media=VIDEO), picture(0, 8))
    with pytest.raises(DataError, match="twice: 16 picture placeholders for 8 frames"):
        processor.collate([item])


def test_flips_follow_from_seed_epoch_and_sample(cache):
    def drawn(**values):
        processor = model_of(cache, stage="pretrain", **values).processor(INFO, train=True, seed=0)
        return [processor._flips(talk(f"u{number}", "x", "y"), 1) for number in range(40)]

    assert drawn() == drawn() and {(True, False), (False, True)} <= set(drawn())
    assert all(student == teacher for student, teacher in drawn(sync_flip=True))
    assert set(drawn(flip=0.0)) == {(False, False)}


def choice(uid, media, task="mc_qa", **values):
    given = {"question": "what is it?", "options": ("a ball", "a cup"), "answer_idx": 1, "answer": "a cup", **values}
    return Sample(uid=uid, dataset="made", split="test", task=task, media=media, **given)


def test_a_folder_of_pictures_is_a_video_and_one_picture_is_none(cache):
    processor = model_of(cache, stage="evaluate").processor(INFO, train=False, seed=0)
    folder = Media(kind="frames", video_id="tvqa/clip_00", path="tvqa/clip_00")
    batch = processor.collate(
        [processor(choice("m", folder), picture(0, 5)), processor(choice("p", PICTURE), picture(1, 1))]
    )
    assert batch["clips"] == [8, 1] and [box.empty for box in batch["boxes"][:8]] == [False] * 5 + [True] * 3


def test_a_wrong_number_of_placeholders_names_the_question(cache):
    processor = model_of(cache, stage="evaluate").processor(INFO, train=False, seed=0)
    item = processor(choice("made/test/7", VIDEO, question="<image> what?"), picture(0, 8))
    with pytest.raises(DataError, match="made/test/7: 9 picture placeholders for 8 frames"):
        processor.collate([item])


def test_options_are_shown_with_letters(cache):
    model = model_of(cache, stage="evaluate")
    asked = model.processor(INFO, train=False, seed=0)
    text = asked.tokenizer.decode([one for one in asked(choice("q", VIDEO), picture(0, 8))["ids"] if one >= 0])
    block = "Question: what is it?\nOptions:\n(A) a ball\n(B) a cup\nOnly give the best option."
    assert text.endswith(f"\n{block} ASSISTANT: Best option:(")
    item = model.processor(INFO, train=True, seed=0)(choice("t", VIDEO), picture(0, 8))
    said = asked.tokenizer.decode([one for one in item["labels"] if one >= 0])
    assert said.removesuffix("</s>").strip() == "Best option:(B) a cup"
    # The event that follows (VLEP) has options alone; open questions stay as they are.
    assert "more likely to happen" in conversation_of(choice("v", VIDEO, question=None), visual=8)[0]["value"]
    assert conversation_of(choice("o", VIDEO, task="open_qa"), visual=8)[0]["value"] == "<video>\nwhat is it?"
    with pytest.raises(DataError, match="h: no answer to train on"):
        conversation_of(choice("h", VIDEO, answer_idx=None, answer=None), visual=8)


def test_flips_at_evaluation_are_drawn_by_clip(cache):
    processor = model_of(cache, stage="evaluate", eval_flip=True).processor(INFO, train=False, seed=0)

    def shown(path, number):
        return processor(choice(f"{path}/{number}", Media(kind="video", video_id=path, path=path)), picture(0, 8))

    for path in ("a.mp4", "b.mp4", "c.mp4"):
        pictures = [shown(path, number)["clip"].student for number in range(6)]
        assert all(torch.equal(one, pictures[0]) for one in pictures), "questions about a clip share one prefix"
    firsts = [shown(f"{number}.mp4", 0)["clip"].student for number in range(12)]
    assert 0 < sum(torch.equal(one, firsts[0]) for one in firsts) < 12

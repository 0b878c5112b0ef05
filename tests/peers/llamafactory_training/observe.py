# SPDX-License-Identifier: Apache-2.0
"""observe.py SETTINGS.json OUT: LLaMA-Factory's own `run_exp`, which is what `llamafactory-cli train` calls, with a
callback that only looks on. OUT.steps.jsonl: a line a step with the loss and gradient norm as logged and the seconds since the
step before; OUT.start.json: head at the start and names of what is trained; OUT.rewards.json: with do_predict the rewards
[chosen, rejected], which LLaMA-Factory's own file has with two decimals only."""
import json
import resource
import sys
import time

import torch
from transformers import TrainerCallback

torch.set_num_threads(1)
import llamafactory.train.rm.workflow as workflow  # noqa: E402
from llamafactory.train.rm.trainer import PairwiseTrainer  # noqa: E402
from llamafactory.train.tuner import run_exp  # noqa: E402

settings, out = json.load(open(sys.argv[1])), sys.argv[2]


class Observer(TrainerCallback):
    def on_train_begin(self, args, state, control, **kwargs):
        self.file = open(out + ".steps.jsonl", "w")
        self.mark()

    def mark(self):
        self.time, self.cpu = time.perf_counter(), time.process_time()

    def on_step_end(self, args, state, control, **kwargs):
        self.took = time.perf_counter() - self.time, time.process_time() - self.cpu
        self.mark()

    def on_log(self, args, state, control, logs=None, **kwargs):
        if "loss" in logs:
            line = {"step": state.global_step, "loss": logs["loss"], "gradient_norm": logs["grad_norm"],
                    "learning_rate": logs["learning_rate"], "seconds": self.took[0], "cpu_seconds": self.took[1],
                    "peak_memory_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024}
            self.file.write(json.dumps(line) + "\n")
            self.file.flush()


load_model, save_predictions = workflow.load_model, PairwiseTrainer.save_predictions


def load_and_note(*args, **kwargs):
    model = load_model(*args, **kwargs)
    json.dump({"head": model.v_head.summary.weight[0].tolist(), "bias": model.v_head.summary.bias.tolist(),
               "dropout": getattr(model.v_head.dropout, "p", 0.0),
               "trained": [name for name, parameter in model.named_parameters() if parameter.requires_grad]},
              open(out + ".start.json", "w"))
    return model


def save_and_note(self, results):
    json.dump([[float(c), float(r)] for c, r in zip(*results.predictions)], open(out + ".rewards.json", "w"))
    return save_predictions(self, results)


workflow.load_model, PairwiseTrainer.save_predictions = load_and_note, save_and_note
run_exp(settings, callbacks=[Observer()])

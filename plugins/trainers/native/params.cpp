// SPDX-License-Identifier: Apache-2.0
#include "plugins/trainers/native/params.hpp"

#include "dt2it/backbone.hpp"
#include "dt2it/error.hpp"

namespace dt2it::native {

void Params::describe(Schema<Params>& schema) {
  using P = Params;
  schema.component<Backbone>("backbone", &P::backbone, "Model to start from.").required();
  schema
      .field("loss", &P::loss,
             "bradley_terry: a reward head that tells chosen from rejected; dpo: the language "
             "model itself (Rafailov et al. "
             "2023); next_token: the chosen responses.")
      .choices({"bradley_terry", "dpo", "next_token"});
  schema
      .field("recipe", &P::recipe,
             "What `auto` means elsewhere. llamafactory: as LLaMA-Factory 0.9.5 trains a reward "
             "model, bit for bit its order "
             "of pairs and head (docs/training.md).")
      .choices({"clean", "llamafactory"});
  schema.field("margin", &P::margin, "Reward that chosen must be ahead by.").min(0);
  schema
      .field("margin_from_strength", &P::margin_from_strength,
             "Added to the margin for each unit of a pair's preference strength (adaptive margin); "
             "pairs without one: 0.")
      .min(0);
  schema
      .field("label_smoothing", &P::label_smoothing,
             "Probability that a label is taken to be wrong.")
      .min(0)
      .max(0.5);
  schema
      .field("soft_labels", &P::soft_labels,
             "Labels are sigmoid(soft_labels * strength) where a pair has a strength; 0: all "
             "labels are 1.")
      .min(0);
  schema
      .field("centering", &P::centering,
             "Weight of (chosen_reward + rejected_reward)^2, which keeps rewards around 0.")
      .min(0);
  schema
      .field("tie_theta", &P::tie_theta,
             "Rao and Kupper's (1967) threshold: above 1, pairs with |strength| <= tie_strength "
             "are ties, and their likelihood "
             "is that of a tie.")
      .min(1);
  schema.field("tie_strength", &P::tie_strength, "See tie_theta.").min(0);
  schema
      .field("beta", &P::beta,
             "DPO's beta; implicit rewards are beta times the log ratio to the reference.")
      .min(1e-6);
  schema
      .field("sft_weight", &P::sft_weight,
             "DPO: weight of the chosen response's loss per token beside it.")
      .min(0);
  schema
      .field("reference", &P::reference,
             "DPO: the model at the start of this training, or the same with its adapters off. "
             "Computed once, before training.")
      .choices({"start", "adapters_off"});
  schema.field("learning_rate", &P::learning_rate, "Highest learning rate: after the warm-up.")
      .min(0);
  schema
      .field("head_learning_rate", &P::head_learning_rate,
             "Of the reward head; not given: learning_rate.")
      .min(0);
  schema
      .field("projector_learning_rate", &P::projector_learning_rate,
             "Of the mergers behind the vision tower.")
      .min(0);
  schema.field("vision_learning_rate", &P::vision_learning_rate, "Of the vision tower.").min(0);
  schema.field("betas", &P::betas, "AdamW's two decay rates.").min(0).max(1);
  schema.field("epsilon", &P::epsilon, "AdamW's epsilon.").min(0);
  schema
      .field("weight_decay", &P::weight_decay,
             "Decoupled weight decay of matrices (not of biases and norms).")
      .min(0);
  schema.field("master_weights", &P::master_weights,
               "Train float32 copies of weights that are in a shorter type.");
  schema.field("optimizer", &P::optimizer, "muon: for the decoder's matrices, AdamW for the rest.")
      .choices({"adamw", "muon"});
  schema.field("muon_learning_rate", &P::muon_learning_rate, "Highest learning rate of Muon.")
      .min(0);
  schema.field("batch_size", &P::batch_size, "Pairs of one optimiser step, over all processes.")
      .min(1);
  schema
      .field("micro_batch_size", &P::micro_batch_size,
             "Pairs of one forward pass at most (gradients are added up); 0: as many as "
             "tokens_per_pack allows.")
      .min(0);
  schema
      .field("tokens_per_pack", &P::tokens_per_pack,
             "Tokens of one forward pass at most; a longer pair is a pass of its own. Memory grows "
             "with it, results do not change.")
      .min(1);
  schema.field("epochs", &P::epochs, "Passes over the pairs.").min(1);
  schema
      .field("max_steps", &P::max_steps,
             "Stop after so many steps, with a schedule of that length; 0: all epochs.")
      .min(0);
  schema
      .field("schedule", &P::schedule,
             "The learning rate after the warm-up: half a cosine to 0, a line to 0, or constant.")
      .choices({"cosine", "linear", "constant"});
  schema
      .field("warmup_ratio", &P::warmup_ratio,
             "Share of the steps in which the learning rate rises.")
      .min(0)
      .max(1);
  schema
      .field("max_grad_norm", &P::max_grad_norm,
             "Gradients are scaled down to this norm; 0: never.")
      .min(0);
  schema
      .field("head_init", &P::head_init,
             "Reward head at the start: zeros; normal (deviation 0.02); linear (as torch's "
             "nn.Linear, by LLaMA-Factory's random "
             "numbers); contrast (the difference of the output weights of `positive` and "
             "`negative`); checkpoint (the "
             "backbone's own); auto: the checkpoint's if it has one, else linear (llamafactory), "
             "zeros (clean).")
      .choices({"auto", "zeros", "normal", "linear", "contrast", "checkpoint"});
  schema
      .field("head_input", &P::head_input,
             "Hidden state that the head reads: after or before the final norm (before_norm: as "
             "LLaMA-Factory with transformers 4.57 trains Qwen3-VL); auto: for the checkpoint's "
             "own head as its training.json says, else final_norm.")
      .choices({"auto", "final_norm", "before_norm"});
  schema
      .field("head_dropout", &P::head_dropout,
             "Dropout before the head; not given: 0.1 (llamafactory), 0 (clean).")
      .min(0)
      .max(0.99);
  schema.field("positive", &P::positive, "Word for head_init contrast.");
  schema.field("negative", &P::negative, "Word for head_init contrast.");
  schema
      .field("order", &P::order,
             "shuffled anew each epoch; file: as in the file; prompts: pairs of one prompt stay "
             "together and share its "
             "computation; llamafactory: its shuffling; auto: llamafactory or shuffled, by the "
             "recipe.")
      .choices({"auto", "shuffled", "file", "prompts", "llamafactory"});
  schema
      .field("order_seed", &P::order_seed,
             "Seed of LLaMA-Factory's order and head (it has 42 by default); -1: made from the "
             "seed of the experiment.")
      .min(-1);
  schema
      .field("evaluate_every", &P::evaluate_every,
             "Steps between looks at the held-out pairs; 0: after each epoch.")
      .min(0);
  schema
      .field("save_every", &P::save_every,
             "Steps between saved states, from which a killed training goes on; 0: only when it is "
             "stopped.")
      .min(0);
  schema
      .field("keep_checkpoints", &P::keep_checkpoints,
             "With save_every: how many of the last checkpoints are kept in checkpoints/step-N of "
             "the result.")
      .min(0);
  schema
      .field("keep", &P::keep,
             "The result: the last weights, or those with the best accuracy on held-out pairs.")
      .choices({"last", "best"});
  schema
      .field("stuck_steps", &P::stuck_steps,
             "Stop when so many steps in a row after the warm-up taught nothing: loss at ln 2, or "
             "all rewards equal; 0: never.")
      .min(0);
  schema
      .field("threads", &P::threads,
             "Threads for the computation; the result depends on it in the last bits.")
      .min(1)
      .max(256);
  schema
      .field("encoder_threads", &P::encoder_threads,
             "Threads that read and encode the next batches meanwhile; 0: no meanwhile, by the "
             "thread that trains.")
      .min(0)
      .max(256);
  schema.field("prefetch", &P::prefetch, "Batches that are encoded ahead.").min(1).max(1024);
  schema
      .field("process_timeout", &P::process_timeout,
             "Seconds that one of several processes waits for the others.")
      .min(1);
}

void Params::check() const {
  const auto reject = [](const std::string& what) {
    throw ConfigError("trainers/native: " + what);
  };
  if (betas.size() != 2) reject("betas must be two numbers");
  const bool preferences = objective() == Objective::reward;
  if (!preferences &&
      (margin > 0 || margin_from_strength > 0 || soft_labels > 0 || centering > 0 || tie_theta > 1))
    reject(
        "margin, margin_from_strength, soft_labels, centering and tie_theta belong to loss "
        "bradley_terry, not " +
        loss);
  if (objective() != Objective::dpo && sft_weight > 0)
    reject("sft_weight belongs to loss dpo, not " + loss);
  if (objective() == Objective::next_token && label_smoothing > 0)
    reject("label_smoothing belongs to bradley_terry and dpo");
  if (keep_checkpoints > 0 && save_every == 0) reject("keep_checkpoints needs save_every");
}

Objective Params::objective() const {
  if (loss == "dpo") return Objective::dpo;
  return loss == "next_token" ? Objective::next_token : Objective::reward;
}

double Params::dropout() const { return head_dropout.value_or(llamafactory() ? 0.1 : 0.0); }

std::string Params::initial_head() const {
  if (head_init != "auto") return head_init;
  return llamafactory() ? "linear" : "zeros";
}

std::string Params::pair_order() const {
  if (order != "auto") return order;
  return llamafactory() ? "llamafactory" : "shuffled";
}

}  // namespace dt2it::native

// SPDX-License-Identifier: Apache-2.0
#include "plugins/trainers/native/description.hpp"

#include <fmt/format.h>

#include "dt2it/json_text.hpp"
#include "dt2it/version.hpp"

namespace dt2it::native {

std::string training_json(const Params& params, const Facts& facts) {
  std::string sources;
  for (const auto& [name, count] : facts.sources)
    sources += fmt::format("{}{}: {}", sources.empty() ? "" : ", ", json_text(name), count);
  std::string out = fmt::format(
      "{{\n  \"loss\": {},\n  \"recipe\": {},\n  \"head_input\": {},\n  \"head_init\": {},\n  "
      "\"head_dropout\": {},\n  \"order\": {},\n"
      "  \"pairs\": {},\n  \"left_out\": {},\n  \"truncated\": {},\n  \"epochs\": {},\n  "
      "\"steps\": {},\n  \"batch_size\": {},\n"
      "  \"learning_rate\": {},\n  \"warmup_ratio\": {},\n  \"weight_decay\": {},\n  "
      "\"optimizer\": {},\n  \"seed\": {},\n",
      json_text(params.loss), json_text(params.recipe), json_text(facts.head_input),
      json_text(params.initial_head()), params.dropout(), json_text(params.pair_order()),
      facts.pairs, facts.left_out, facts.truncated, params.epochs, facts.last.total_steps,
      params.batch_size, params.learning_rate, params.warmup_ratio, params.weight_decay,
      json_text(params.optimizer), facts.seed);
  if (facts.best_step > 0)
    out += fmt::format("  \"best_step\": {},\n  \"best_accuracy\": {},\n  \"kept\": {},\n",
                       facts.best_step, facts.best_accuracy, json_text(params.keep));
  return out + fmt::format("  \"sources\": {{{}}},\n  \"data\": {},\n  \"last_loss\": {}\n}}\n",
                           sources, facts.check.json(), facts.last.loss);
}

std::string model_card(const Params& params, const Facts& facts) {
  const bool reward = params.objective() == Objective::reward;
  std::string card = fmt::format(
      "---\nlibrary_name: transformers\nbase_model: {}\ntags:\n- dt2it\n{}---\n\n# {}\n\n",
      json_text(facts.base), reward ? "- reward-model\n" : "",
      reward ? "A multimodal reward model"
             : (params.loss == "dpo" ? "A model trained by DPO" : "A fine-tuned model"));
  if (reward)
    card += fmt::format(
        "The reward of an answer is a linear layer (`value_head.safetensors`) on the last token's "
        "hidden state {} the final norm.\n\n",
        facts.head_input == "final_norm" ? "after" : "before");
  card += fmt::format("Trained from `{}` by dt2it {} on {} preference pairs", facts.base,
                      DT2IT_VERSION, facts.pairs);
  if (facts.left_out) card += fmt::format(" ({} left out)", facts.left_out);
  card += ".\n\n| source | pairs |\n| --- | --- |\n";
  for (const auto& [name, count] : facts.sources)
    card += fmt::format("| {} | {} |\n", name.empty() ? "(none named)" : name, count);
  card += fmt::format(
      "\n| setting | value |\n| --- | --- |\n| loss | {} |\n| recipe | {} |\n| learning rate | {} "
      "|\n| warm-up | {} |\n"
      "| batch size | {} |\n| epochs | {} |\n| steps | {} |\n| optimizer | {} |\n| head dropout | "
      "{} |\n| seed | {} |\n",
      params.loss, params.recipe, params.learning_rate, params.warmup_ratio, params.batch_size,
      params.epochs, facts.last.total_steps, params.optimizer, params.dropout(), facts.seed);
  if (facts.best_step > 0)
    card += fmt::format("| best accuracy on held-out pairs | {:.4f} (step {}) |\n",
                        facts.best_accuracy, facts.best_step);
  return card;
}

}  // namespace dt2it::native

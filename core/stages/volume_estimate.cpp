// SPDX-License-Identifier: Apache-2.0
#include "core/stages/volume_estimate.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "dt2it/answer_benchmark.hpp"
#include "dt2it/benchmark.hpp"
#include "dt2it/curator.hpp"
#include "dt2it/error.hpp"
#include "dt2it/judge.hpp"
#include "dt2it/mllm.hpp"
#include "dt2it/reward_model.hpp"
#include "dt2it/scorer.hpp"
#include "dt2it/trainer.hpp"

namespace dt2it {
namespace {

template <class T>
T value_of(const Table& params, const char* name, T fallback) {
  const auto found = params.find(name);
  const T* value = found == params.end() ? nullptr : std::get_if<T>(&found->second.data);
  return value ? *value : fallback;
}
double number_of(const Table& params, const char* name, double fallback) {
  const auto found = params.find(name);
  if (found == params.end()) return fallback;
  if (const auto* number = std::get_if<double>(&found->second.data)) return *number;
  if (const auto* number = std::get_if<std::int64_t>(&found->second.data))
    return static_cast<double>(*number);
  return fallback;
}
std::vector<std::string> texts_of(const Table& params, const char* name) {
  std::vector<std::string> texts;
  const auto found = params.find(name);
  if (found != params.end())
    if (const auto* list = std::get_if<List>(&found->second.data))
      for (const Value& item : *list)
        if (const auto* text = std::get_if<std::string>(&item.data)) texts.push_back(*text);
  return texts;
}
std::string text_of(const Table& params, const char* name) {
  return value_of<std::string>(params, name, "");
}

std::string short_number(double number) {
  return number >= 1e6   ? fmt::format("{:.2f}M", number / 1e6)
         : number >= 1e4 ? fmt::format("{:.0f}K", number / 1e3)
                         : fmt::format("{:.0f}", number);
}

// What a stage has left behind, as far as the next ones need it.
struct Output {
  double prompts = 0, candidates = 0, pairs = 0, questions = 0;
  bool diversified = false;
  std::map<std::string, double> scored;  // prompts whose candidates this scorer has all scored
};

class Estimator {
 public:
  Estimator(const StageGraph& graph, const PlanFacts& facts) : graph_(graph), facts_(facts) {}

  std::vector<VolumeEstimate> run() {
    std::vector<VolumeEstimate> estimates;
    for (const PlannedStage& stage : graph_.stages) {
      stage_ = &stage;
      now_ = {stage.config.name, stage.config.type, stage.key, {}};
      outputs_[stage.config.name] = output();
      estimates.push_back(now_);
    }
    return estimates;
  }

 private:
  double fact(const std::string& name) const { return facts_.number(name); }
  const Table& params() const { return stage_->config.params; }
  const Output& input(const std::string& name) const { return outputs_.at(name); }
  double pairs_of(const std::vector<std::string>& stages) const {
    double pairs = 0;
    for (const std::string& stage : stages) pairs += input(stage).pairs;
    return pairs;
  }
  const ComponentConfig* component(const char* kind, const std::string& name) const {
    for (const ComponentConfig& one : stage_->components)
      if (one.kind == kind && one.name == name) return &one;
    return nullptr;
  }

  // Forward passes; `parameters` of the language model. The tower sees four patches for each image token.
  double forward_flops(double text, double image, double parameters) const {
    return 2 * parameters * (text + image) + 2 * fact("vision_parameters") * 4 * image;
  }
  double hours(double flops, const char* utilisation) const {
    return flops / (fact("gpu_flops") * fact(utilisation)) / 3600;
  }

  // Calls of one MLLM: money where it is paid for, GPU hours where it runs behind a server of one's own.
  void ask(const std::string& name, double calls, double sent, double answered) {
    const ComponentConfig* mllm = component(Mllm::kKind, name);
    if (!mllm || calls <= 0) return;
    now_.calls += calls;
    now_.sent += calls * sent;
    now_.answered += calls * answered;
    now_.disk += calls * (answered * fact("bytes_per_token") + fact("bytes_per_call"));
    if (text_of(mllm->params, "service") == "vllm" || mllm->type == "local") {
      const double parameters = fact("parameters." + name);
      now_.gpu_hours += hours(2 * parameters * calls * sent, "score_utilisation") +
                        hours(2 * parameters * calls * answered, "decode_utilisation");
      return;
    }
    const double in = number_of(mllm->params, "price_input", 0),
                 out = number_of(mllm->params, "price_output", 0);
    now_.cost += (calls * sent * in + calls * answered * out) / 1e6;
    now_.unpriced |= in == 0 && out == 0 && mllm->type == "openai";
  }

  std::string judge_mllm(const std::string& judge) const {
    const ComponentConfig* found = component(Judge::kKind, judge);
    return found ? text_of(found->params, "mllm") : "";
  }

  // Rewards of `responses` answers to each of `requests` prompts.
  void reward(const std::string& name, double requests, double responses, double image_tokens) {
    const ComponentConfig* model = component(RewardModel::kKind, name);
    if (!model) return;
    if (model->type == "mrm") {
      now_.gpu_hours +=
          hours(requests * forward_flops(fact("prompt_tokens") + responses * fact("answer_tokens"),
                                         image_tokens, fact("parameters.reward_model")),
                "score_utilisation");
    } else if (const std::string judge = text_of(model->params, "judge"); !judge.empty()) {
      ask(judge_mllm(judge), requests * responses,
          fact("rubric_tokens") + fact("prompt_tokens") + fact("image_tokens") +
              fact("answer_tokens"),
          fact("judgement_tokens"));
    } else if (const std::string mllm = text_of(model->params, "mllm"); !mllm.empty()) {
      ask(mllm, requests,
          fact("prompt_tokens") + fact("image_tokens") + responses * fact("answer_tokens") + 300,
          fact("judgement_tokens"));
    }
  }

  void records(double count, double bytes, const char* what) {
    now_.disk += count * bytes;
    now_.what = short_number(count) + " " + what;
  }

  Output output() {
    const std::string& type = stage_->config.type;
    Output result;
    if (type == "collect") {
      result.prompts = fact("datasets." + text_of(params(), "dataset"));
      if (const auto limit = value_of<std::int64_t>(params(), "limit", 0); limit > 0)
        result.prompts = std::min(result.prompts, static_cast<double>(limit));
      records(result.prompts, fact("bytes_per_record") + fact("bytes_per_image"), "prompts");
    } else if (type == "candidates" || type == "answers") {
      const bool benchmark = type == "answers";
      const std::vector<std::string> pool =
          benchmark ? std::vector<std::string>{text_of(params(), "mllm")}
                    : texts_of(params(), "pool");
      if (benchmark)
        result.questions = result.prompts = fact("questions." + text_of(params(), "benchmark"));
      else
        result.prompts = input(text_of(params(), "prompts")).prompts;
      result.candidates =
          result.prompts * static_cast<double>(value_of<std::int64_t>(params(), "count", 4));
      for (const std::string& name : pool)
        ask(name, result.candidates / static_cast<double>(pool.size()),
            fact("prompt_tokens") + fact("image_tokens"), fact("answer_tokens"));
      records(result.candidates, fact("bytes_per_record"), benchmark ? "answers" : "candidates");
    } else if (type == "score") {
      result = input(text_of(params(), "candidates"));
      const std::string scorer = text_of(params(), "scorer");
      const ComponentConfig* component = this->component(Scorer::kKind, scorer);
      const double todo = result.prompts - result.scored[scorer],
                   each = result.prompts > 0 ? result.candidates / result.prompts : 0;
      const std::string mllm = component ? judge_mllm(text_of(component->params, "judge")) : "";
      const double fixed = fact("rubric_tokens") + 2 * fact("prompt_tokens") + fact("image_tokens");
      if (component && component->type == "pointwise")
        ask(mllm, todo * each, fixed + fact("answer_tokens"), fact("judgement_tokens"));
      else
        ask(mllm, todo, fixed + each * fact("answer_tokens"), each * fact("judgement_tokens"));
      result.scored[scorer] = result.prompts;
      records(result.candidates, fact("bytes_per_record"), "scores");
    } else if (type == "diversify") {
      result = input(text_of(params(), "candidates"));
      const double added = result.prompts * fact("diversified_share");
      std::vector<std::string> writers;
      for (const ComponentConfig& one : stage_->components)
        if (one.kind == Mllm::kKind) writers.push_back(one.name);
      for (const std::string& name : writers)
        ask(name, added / static_cast<double>(writers.size()),
            2 * fact("prompt_tokens") + fact("image_tokens"), fact("answer_tokens"));
      result.candidates += added;
      result.diversified = true;
      for (auto& [scorer, prompts] : result.scored) prompts -= added;
      records(result.candidates, fact("bytes_per_record"), "candidates");
    } else if (type == "pair") {
      const Output& from = input(text_of(params(), "candidates"));
      const bool both = texts_of(params(), "scorers").size() > 1;
      result.pairs = from.prompts * fact(both               ? "pairs_per_prompt.agreed"
                                         : from.diversified ? "pairs_per_prompt.diversified"
                                                            : "pairs_per_prompt.listwise");
      records(result.pairs, 2 * fact("bytes_per_record"), "pairs");
    } else if (type == "reformulate") {
      result.pairs = fact("datasets." + text_of(params(), "dataset"));
      if (const auto limit = value_of<std::int64_t>(params(), "limit", 0); limit > 0)
        result.pairs = std::min(result.pairs, static_cast<double>(limit));
      records(result.pairs, fact("bytes_per_record") + 2 * fact("bytes_per_image"), "pairs");
    } else if (type == "collect_pairs") {
      result.pairs = fact("datasets." + text_of(params(), "dataset"));
      records(result.pairs, 2 * fact("bytes_per_record") + fact("bytes_per_image"), "pairs");
    } else if (type == "mix") {
      result.pairs = pairs_of(texts_of(params(), "pairs"));
      if (const auto sample = value_of<std::int64_t>(params(), "sample", 0); sample > 0)
        result.pairs = std::min(result.pairs, static_cast<double>(sample));
      if (const auto others = texts_of(params(), "as_many_as"); !others.empty())
        result.pairs = std::min(result.pairs, pairs_of(others));
      records(result.pairs, 2 * fact("bytes_per_record"), "pairs");
    } else if (type == "curate") {
      curate(result);
    } else if (type == "train") {
      const double pairs = pairs_of(texts_of(params(), "pairs"));
      train(pairs);
      now_.what = short_number(pairs) + " pairs";
    } else if (type == "evaluate") {
      double items = 0;
      for (const std::string& name : texts_of(params(), "benchmarks"))
        items += fact("benchmarks." + name);
      reward(text_of(params(), "reward_model"), items, 2, fact("test_image_tokens"));
      records(items, 300, "test pairs");
    } else if (type == "grade") {
      result = input(text_of(params(), "answers"));
      const ComponentConfig* benchmark =
          component(AnswerBenchmark::kKind, text_of(params(), "benchmark"));
      if (benchmark) {
        const double runs =
            static_cast<double>(value_of<std::int64_t>(benchmark->params, "runs", 1));
        ask(text_of(benchmark->params, "judge"), result.candidates * runs,
            fact("grading_tokens") + 2 * fact("answer_tokens"),
            std::min(fact("judgement_tokens"), number_of(benchmark->params, "max_tokens", 1e9)));
      }
      records(result.candidates, 500, "grades");
    } else if (type == "reward") {
      result = input(text_of(params(), "candidates"));
      reward(text_of(params(), "reward_model"), result.prompts,
             result.prompts > 0 ? result.candidates / result.prompts : 0,
             result.questions > 0 ? fact("test_image_tokens") : fact("image_tokens"));
      records(result.candidates, 60, "rewards");
    } else if (type == "prefer") {
      result.pairs = input(text_of(params(), "candidates")).prompts;
      records(result.pairs, 2 * fact("bytes_per_record"), "pairs");
    }
    return result;  // what measures only (audit, bias, answer_table) costs nothing that counts
  }

  void curate(Output& result) {
    const double pairs = pairs_of(texts_of(params(), "pairs"));
    const std::vector<std::string> curators = texts_of(params(), "curators");
    double open = pairs;
    for (const std::string& name : curators) {
      const ComponentConfig* curator = component(Curator::kKind, name);
      if (!curator) continue;
      for (const std::string& model : texts_of(curator->params, "reward_models"))
        reward(model, open, 2, fact("image_tokens"));
      if (const std::string model = text_of(curator->params, "reward_model"); !model.empty()) {
        reward(model, open, 2, fact("image_tokens"));
        open *= fact("inconsistent_share");
      }
      for (const std::string& judge : texts_of(curator->params, "judges"))
        ask(judge_mllm(judge), 2 * open,
            fact("rubric_tokens") + fact("prompt_tokens") + fact("image_tokens") +
                2 * fact("answer_tokens"),
            2 * fact("judgement_tokens"));
    }
    result.pairs = pairs * (1 - fact("discarded_share"));
    records(result.pairs, 2 * fact("bytes_per_record"), "pairs");
  }

  void train(double pairs) {
    const ComponentConfig* trainer = component(Trainer::kKind, text_of(params(), "trainer"));
    const bool native = !trainer || trainer->type == "native";
    const bool dpo = trainer && (text_of(trainer->params, "loss") == "dpo" ||
                                 text_of(trainer->params, "stage") == "dpo");
    const double epochs =
        trainer ? static_cast<double>(value_of<std::int64_t>(trainer->params, "epochs", 1)) : 1;
    // A tree has the prompt once; LLaMA-Factory has it twice.
    const double prompts = native ? 1 : 2;
    const double text = prompts * fact("prompt_tokens") + 2 * fact("answer_tokens"),
                 image = prompts * fact("image_tokens");
    const double parameters = fact("parameters.reward_model");
    // Forward 2, backward 4, once more forward where activations are computed twice; DPO's reference: forward.
    const double passes = 6 + 2 * fact("recompute") + (dpo ? 2 : 0);
    now_.gpu_hours += hours(
        epochs * pairs *
            (passes * parameters * (text + image) + 2 * fact("vision_parameters") * 4 * image),
        "train_utilisation");
    now_.disk += fact("bytes_per_checkpoint");
  }

  const StageGraph& graph_;
  const PlanFacts& facts_;
  const PlannedStage* stage_ = nullptr;
  VolumeEstimate now_;
  std::map<std::string, Output> outputs_;
};

}  // namespace

void VolumeEstimate::add(const VolumeEstimate& other) {
  calls += other.calls;
  sent += other.sent;
  answered += other.answered;
  cost += other.cost;
  unpriced |= other.unpriced;
  gpu_hours += other.gpu_hours;
  disk += other.disk;
}

std::vector<VolumeEstimate> estimate_volumes(const StageGraph& graph, const PlanFacts& facts) {
  return Estimator(graph, facts).run();
}

}  // namespace dt2it

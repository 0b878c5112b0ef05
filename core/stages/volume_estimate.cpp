// SPDX-License-Identifier: Apache-2.0
#include "core/stages/volume_estimate.hpp"

#include <fmt/format.h>

#include <cstdint>
#include <string_view>
#include <variant>

#include "core/stages/planned_pairs.hpp"
#include "core/stages/volume_forecast.hpp"
#include "dt2it/judge.hpp"
#include "dt2it/mllm.hpp"
#include "dt2it/reward_model.hpp"

namespace dt2it {
namespace {

const std::map<std::string_view, VolumeOutput (*)(VolumeForecast&), std::less<>>& forecasts() {
  static const std::map<std::string_view, VolumeOutput (*)(VolumeForecast&), std::less<>> all{
      {"collect", collect_volume},
      {"collect_pairs", collect_pairs_volume},
      {"candidates", candidates_volume},
      {"score", score_volume},
      {"diversify", diversify_volume},
      {"pair", pair_volume},
      {"reformulate", reformulate_volume},
      {"mix", mix_volume},
      {"curate", curate_volume},
      {"train", train_volume},
      {"evaluate", evaluate_volume},
      {"answers", answers_volume},
      {"grade", grade_volume},
      {"reward", reward_volume},
      {"prefer", prefer_volume}};
  return all;
}

std::string short_number(double number) {
  return number >= 1e6   ? fmt::format("{:.2f}M", number / 1e6)
         : number >= 1e4 ? fmt::format("{:.0f}K", number / 1e3)
                         : fmt::format("{:.0f}", number);
}

}  // namespace

double number_of(const Table& params, const char* name, double fallback) {
  const auto found = params.find(name);
  if (found == params.end()) return fallback;
  if (const auto* number = std::get_if<double>(&found->second.data)) return *number;
  if (const auto* number = std::get_if<std::int64_t>(&found->second.data))
    return static_cast<double>(*number);
  return fallback;
}

double VolumeForecast::pairs_of(const std::vector<std::string>& stages) const {
  double pairs = 0;
  for (const std::string& stage : stages) pairs += input(stage).pairs;
  return pairs;
}

const ComponentConfig* VolumeForecast::component(const char* kind, const std::string& name) const {
  for (const ComponentConfig& one : stage_.components)
    if (one.kind == kind && one.name == name) return &one;
  return nullptr;
}

std::vector<std::string> VolumeForecast::components(const char* kind) const {
  std::vector<std::string> names;
  for (const ComponentConfig& one : stage_.components)
    if (one.kind == kind) names.push_back(one.name);
  return names;
}

std::string VolumeForecast::mllm_of_judge(const std::string& judge) const {
  const ComponentConfig* found = component(Judge::kKind, judge);
  return found ? text_of(found->params, "mllm") : "";
}

double VolumeForecast::hours(double flops, const char* utilisation) const {
  return flops / (fact("gpu_flops") * fact(utilisation)) / 3600;
}

void VolumeForecast::compute(double flops, const char* utilisation) {
  estimate_.gpu_hours += hours(flops, utilisation);
}

void VolumeForecast::makes(double count, double bytes, const char* what) {
  keep(count * bytes);
  estimate_.what = short_number(count) + " " + what;
}

void VolumeForecast::ask(const std::string& name, double calls, double sent, double answered) {
  const ComponentConfig* mllm = component(Mllm::kKind, name);
  if (!mllm || calls <= 0) return;
  estimate_.calls += calls;
  estimate_.sent += calls * sent;
  estimate_.answered += calls * answered;
  keep(calls * (answered * fact("bytes_per_token") + fact("bytes_per_call")));
  if (text_of(mllm->params, "service") == "vllm" || mllm->type == "local") {
    const double parameters = fact("parameters." + name);
    estimate_.gpu_hours += hours(2 * parameters * calls * sent, "score_utilisation") +
                           hours(2 * parameters * calls * answered, "decode_utilisation");
    return;
  }
  const double in = number_of(mllm->params, "price_input", 0),
               out = number_of(mllm->params, "price_output", 0);
  estimate_.cost += (calls * sent * in + calls * answered * out) / 1e6;
  estimate_.unpriced |= in == 0 && out == 0 && mllm->type == "openai";
}

void VolumeForecast::reward(const std::string& name, double requests, double responses,
                            double image_tokens) {
  const ComponentConfig* model = component(RewardModel::kKind, name);
  if (!model) return;
  if (model->type == "mrm") {
    // One forward pass. The tower sees four patches for each image token.
    const double text = fact("prompt_tokens") + responses * fact("answer_tokens");
    compute(requests * (2 * fact("parameters.reward_model") * (text + image_tokens) +
                        2 * fact("vision_parameters") * 4 * image_tokens),
            "score_utilisation");
  } else if (const std::string judge = text_of(model->params, "judge"); !judge.empty()) {
    ask(mllm_of_judge(judge), requests * responses,
        fact("rubric_tokens") + fact("prompt_tokens") + fact("image_tokens") +
            fact("answer_tokens"),
        fact("judgement_tokens"));
  } else if (const std::string mllm = text_of(model->params, "mllm"); !mllm.empty()) {
    ask(mllm, requests,
        fact("prompt_tokens") + fact("image_tokens") + responses * fact("answer_tokens") + 300,
        fact("judgement_tokens"));
  }
}

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
  std::vector<VolumeEstimate> estimates;
  VolumeForecast::Outputs outputs;
  for (const PlannedStage& stage : graph.stages) {
    VolumeForecast forecast(stage, facts, outputs);
    const auto found = forecasts().find(stage.config.type);
    VolumeOutput output = found == forecasts().end() ? VolumeOutput{} : found->second(forecast);
    outputs[stage.config.name] = std::move(output);
    estimates.push_back(forecast.estimate());
  }
  return estimates;
}

}  // namespace dt2it

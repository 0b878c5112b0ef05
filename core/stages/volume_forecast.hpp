// SPDX-License-Identifier: Apache-2.0
#pragma once

// What a stage says beforehand of its own volume: a function X_volume beside X_stage, in the stage's
// file. volume_estimate.hpp puts the stages of a plan together.

#include <map>
#include <string>
#include <vector>

#include "core/config/plan_facts.hpp"
#include "core/run/graph.hpp"
#include "core/stages/volume_estimate.hpp"
#include "dt2it/params.hpp"

namespace dt2it {

// What a stage will leave behind, as far as the next ones need it.
struct VolumeOutput {
  double prompts = 0, candidates = 0, pairs = 0, questions = 0;
  bool diversified = false;
  std::map<std::string, double> scored;  // prompts whose candidates this scorer has all scored
};

// One stage of a plan: what it can see, and what it foretells.
class VolumeForecast {
 public:
  using Outputs = std::map<std::string, VolumeOutput>;  // by stage
  VolumeForecast(const PlannedStage& stage, const PlanFacts& facts, const Outputs& before)
      : stage_(stage),
        facts_(facts),
        before_(before),
        estimate_{stage.config.name, stage.config.type, stage.key, {}} {}

  // The stage's parameters, as its body gets them.
  template <class P>
  P params() const {
    Schema<P> schema;
    P::describe(schema);
    return schema.make(stage_.config.params);
  }
  double fact(const std::string& name) const { return facts_.number(name); }
  const VolumeOutput& input(const std::string& stage) const { return before_.at(stage); }
  double pairs_of(const std::vector<std::string>& stages) const;
  // Null: there is none.
  const ComponentConfig* component(const char* kind, const std::string& name) const;
  std::vector<std::string> components(const char* kind) const;
  // Empty: it asks none by a parameter `mllm`.
  std::string mllm_of_judge(const std::string& judge) const;

  // Calls of one MLLM, each of so many tokens: money where it is paid for, GPU hours where it runs behind a server of one's own.
  void ask(const std::string& mllm, double calls, double sent, double answered);
  // Rewards of `responses` answers to each of `requests` prompts.
  void reward(const std::string& model, double requests, double responses, double image_tokens);
  // `utilisation`: the fact that says it.
  void compute(double flops, const char* utilisation);
  void keep(double bytes) { estimate_.disk += bytes; }
  // What the stage is there for: so many records of so many bytes.
  void makes(double count, double bytes, const char* what);

  const VolumeEstimate& estimate() const { return estimate_; }

 private:
  double hours(double flops, const char* utilisation) const;

  const PlannedStage& stage_;
  const PlanFacts& facts_;
  const Outputs& before_;
  VolumeEstimate estimate_;
};

// A number of a component's parameters, whole or not.
double number_of(const Table& params, const char* name, double fallback);

// Stages that are not here measure only, and cost nothing that counts.
VolumeOutput collect_volume(VolumeForecast& forecast);
VolumeOutput collect_pairs_volume(VolumeForecast& forecast);
VolumeOutput candidates_volume(VolumeForecast& forecast);
VolumeOutput score_volume(VolumeForecast& forecast);
VolumeOutput diversify_volume(VolumeForecast& forecast);
VolumeOutput pair_volume(VolumeForecast& forecast);
VolumeOutput reformulate_volume(VolumeForecast& forecast);
VolumeOutput mix_volume(VolumeForecast& forecast);
VolumeOutput curate_volume(VolumeForecast& forecast);
VolumeOutput train_volume(VolumeForecast& forecast);
VolumeOutput evaluate_volume(VolumeForecast& forecast);
VolumeOutput answers_volume(VolumeForecast& forecast);
VolumeOutput grade_volume(VolumeForecast& forecast);
VolumeOutput reward_volume(VolumeForecast& forecast);
VolumeOutput prefer_volume(VolumeForecast& forecast);

}  // namespace dt2it

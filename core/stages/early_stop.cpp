// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <fstream>
#include <optional>
#include <string>
#include <vector>

#include "core/data/records.hpp"
#include "core/run/layout.hpp"
#include "core/stages/funnel.hpp"
#include "core/stages/gate.hpp"
#include "core/stages/stages.hpp"
#include "core/util/files.hpp"
#include "core/util/json.hpp"
#include "dt2it/error.hpp"

namespace dt2it {

namespace fs = std::filesystem;

void link_folder(const fs::path& from, const fs::path& to) {
  fs::create_directories(to);
  for (const auto& entry : fs::recursive_directory_iterator(from)) {
    const fs::path target = to / fs::relative(entry.path(), from);
    if (entry.is_directory()) {
      fs::create_directories(target);
      continue;
    }
    std::error_code error;
    fs::create_hard_link(entry.path(), target, error);
    if (error) fs::copy_file(entry.path(), target);
  }
}

std::function<void(StageRun&, const fs::path&)> pass_by_empty(std::string file) {
  return [file = std::move(file)](StageRun& stage, const fs::path&) {
    std::ofstream(stage.output / file).close();
    Funnel funnel;
    funnel.step("passed by: the rounds ended before", 0);
    funnel.write(stage.output);
  };
}

void pass_by_training(StageRun& stage, const fs::path& gate) {
  link_folder(gate / layout::kCheckpoint, stage.output / layout::kCheckpoint);
  for (const char* file : {layout::kTraining, layout::kTiming})
    std::ofstream(stage.output / file).close();
  write_file_atomically(stage.output / layout::kPassedBy, "{}\n");
}

bool was_passed_by(const fs::path& folder) { return fs::exists(folder / layout::kPassedBy); }

namespace {

struct EarlyStopParams {
  std::vector<std::string> models;
  double min_gain = 0;

  static void describe(Schema<EarlyStopParams>& schema) {
    schema
        .component<StageInputs>("models", &EarlyStopParams::models,
                                "Training stages, one model after the other.")
        .required();
    schema
        .field("min_gain", &EarlyStopParams::min_gain,
               "Accuracy on held-out pairs must grow by more than this.")
        .min(-1)
        .max(1);
  }
};

// Of the last step that looked at held-out pairs.
double held_out_accuracy(const fs::path& folder, const std::string& stage) {
  std::optional<double> accuracy;
  JsonLineReader lines(folder / layout::kTraining);
  for (simdjson::dom::element line; lines.next(line);) {
    double value = 0;
    if (!line["held_out"]["accuracy"].get(value)) accuracy = value;
  }
  if (!accuracy)
    throw DataError(fmt::format(
        "'{}' has no accuracy on held-out pairs: give the training stages held_out", stage));
  return *accuracy;
}

void run(const EarlyStopParams& params, StageRun& stage) {
  std::vector<double> accuracies;
  std::size_t best = 0;
  bool end = false;
  for (std::size_t i = 0; i < params.models.size() && !end; ++i) {
    const fs::path folder = stage.input(params.models[i]);
    if (was_passed_by(folder)) break;  // an earlier gate said so
    accuracies.push_back(held_out_accuracy(folder, params.models[i]));
    if (i == 0) continue;
    end = !(accuracies[i] > accuracies[best] + params.min_gain);
    if (accuracies[i] > accuracies[best]) best = i;
  }
  end |= accuracies.size() < params.models.size();
  std::string said;
  for (const double accuracy : accuracies)
    said += fmt::format("{}{:.4f}", said.empty() ? "" : ", ", accuracy);
  spdlog::info(
      "accuracy on held-out pairs, model after model: {}; {}", said,
      end ? fmt::format("the rounds end, and model {} is taken", best) : "the rounds go on");
  JsonWriter json;
  json.begin_object();
  json.key("end").value(end).key("best").value(params.models[best]);
  json.key("held_out_accuracy").begin_array();
  for (const double accuracy : accuracies) json.value(accuracy);
  json.end_array();
  write_file_atomically(stage.output / layout::kGate, json.end_object().text() + "\n");
  link_folder(stage.input(params.models[best]) / layout::kCheckpoint,
              stage.output / layout::kCheckpoint);
}

}  // namespace

StageType early_stop_stage() {
  StageType type =
      make_stage<EarlyStopParams>("early_stop",
                                  "Looks whether models that were trained one after the other "
                                  "still get better; its result is the best one.",
                                  "1", run);
  type.result = layout::kCheckpoint;
  type.names_inputs = true;
  return type;
}

}  // namespace dt2it

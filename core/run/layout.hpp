// SPDX-License-Identifier: Apache-2.0
#pragma once

// Names of what lies below a runs folder. Whoever writes a file and whoever reads it take its name from here;
// docs/file_formats.md says what the files hold. Finished stages are never written again, so a name that changes is not
// found in those there are.

#include <filesystem>
#include <string>

namespace dt2it::layout {

// ---------------------------------------------------------------- RUNS

inline constexpr const char* kStore =
    ".store";  // finished stages: TYPE-KEY, and beside it what it cost
inline constexpr const char* kWork = ".work";    // unfinished stages
inline constexpr const char* kMedia = ".media";  // the media store that all stages share

// What a stage cost; `folder` is its name in the store.
inline constexpr const char* kCostEnding = ".cost.json";
inline std::filesystem::path cost_file(const std::filesystem::path& runs,
                                       const std::string& folder) {
  return runs / kStore / (folder + kCostEnding);
}

// Answers of remote models, unless a file is given for them.
inline std::filesystem::path call_store(const std::filesystem::path& runs) {
  return runs / ".calls" / "calls.sqlite";
}

// The nearest folder, from `start` upwards, in which there is a folder `name`: with one of the above, the runs folder
// that something lies in. Empty: there is none. `start` must be absolute.
inline std::filesystem::path nearest_with(const std::filesystem::path& start, const char* name) {
  for (std::filesystem::path folder = start; folder != folder.parent_path();
       folder = folder.parent_path())
    if (std::filesystem::is_directory(folder / name)) return folder;
  return {};
}

// ---------------------------------------------------------------- RUNS/NAME

inline constexpr const char* kRun = "run.json";
inline constexpr const char* kResolved = "resolved.toml";
inline constexpr const char* kStages = "stages";  // links into the store, by the stages' names
inline constexpr const char* kReport = "report.html";

inline bool is_run(const std::filesystem::path& folder) {
  return std::filesystem::exists(folder / kRun);
}

// ---------------------------------------------------------------- RUNS/.store/TYPE-KEY

// Of every stage, and of those that do with records.
inline constexpr const char* kStage = "stage.json";
inline constexpr const char* kFunnel = "funnel.json";
inline constexpr const char* kPrompts = "prompts.jsonl";
inline constexpr const char* kCandidates = "candidates.jsonl";
inline constexpr const char* kPairs = "pairs.jsonl";
inline constexpr const char* kDropped = "dropped.jsonl";
inline constexpr const char* kMixture = "mixture.json";
inline constexpr const char* kAgreement = "agreement.json";

// Of curation.
inline constexpr const char* kVotes = "votes.jsonl";
inline constexpr const char* kDecisions = "decisions.jsonl";
inline constexpr const char* kTruth = "truth.jsonl";
inline constexpr const char* kLabelNoise = "label_noise.json";
inline constexpr const char* kBias = "bias.json";

// Of training.
inline constexpr const char* kCheckpoint = "checkpoint";
inline constexpr const char* kTraining = "training.jsonl";
inline constexpr const char* kTiming = "timing.jsonl";
inline constexpr const char* kTensorBoard = "tensorboard";
inline constexpr const char* kGate = "gate.json";
inline constexpr const char* kPassedBy = "passed_by.json";

// Of evaluation.
inline constexpr const char* kMetrics = "metrics.json";
inline constexpr const char* kOutcomes = "outcomes.jsonl";
inline constexpr const char* kItems = "items.jsonl";
inline constexpr const char* kVerdicts = "verdicts.jsonl";

// Of written answers.
inline constexpr const char* kGrades = "grades.jsonl";
inline constexpr const char* kRewards = "rewards.jsonl";
inline constexpr const char* kAnswers = "answers.json";
inline constexpr const char* kPicked = "picked.jsonl";

}  // namespace dt2it::layout

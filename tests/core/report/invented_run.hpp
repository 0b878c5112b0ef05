// SPDX-License-Identifier: Apache-2.0
#pragma once

// Run folders with invented results, in the shape in which the stages write them.

#include <fmt/format.h>
#include <stdlib.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <string>

#include "dt2it/rng.hpp"
#include "dt2it/testing/fake_media_store.hpp"

namespace dt2it::report_test {

namespace fs = std::filesystem;

class TemporaryFolder {
 public:
  TemporaryFolder() {
    std::string pattern = (fs::temp_directory_path() / "dt2it-report-XXXXXX").string();
    path_ = mkdtemp(pattern.data());
  }
  ~TemporaryFolder() {
    std::error_code ignored;
    fs::remove_all(path_, ignored);
  }
  const fs::path& path() const { return path_; }

 private:
  fs::path path_;
};

inline void write(const fs::path& file, const std::string& text) {
  fs::create_directories(file.parent_path());
  std::ofstream(file, std::ios::binary) << text;
}

inline std::string metric(const std::string& name, int correct, int total) {
  return fmt::format(R"({{"name":"{}","value":{},"correct":{},"total":{}}})", name,
                     static_cast<double>(correct) / total, correct, total);
}

// The counts behind the paper's last row of Table 1: 1,041 + 3,737 + 152 of 6,128.
inline std::string paper_metrics(int less = 0) {
  return fmt::format(
      R"({{"vl_rewardbench":{{"model":"current","edition":"VL-RewardBench, 1,247 rows","absent_media":3,"metrics":[)"
      R"({},{{"name":"macro_accuracy","value":0.77}},{},{},{}]}},)"
      R"("multimodal_rewardbench":{{"model":"current","edition":"Multimodal RewardBench, 4,711 rows","metrics":[{},{}]}},)"
      R"("mm_rlhf_rewardbench":{{"model":"current","edition":"","metrics":[{},{},{}]}}}})",
      metric("overall_accuracy", 1041 - less, 1247), metric("accuracy/general", 114, 181),
      metric("accuracy/hallucination", 684, 749), metric("ties", 12, 1247),
      metric("overall_accuracy", 3737 - less, 4711), metric("ties", 0, 4711),
      metric("accuracy", 152, 170), metric("acc_plus", 33, 46), metric("ties", 0, 170));
}

struct InventedRun {
  std::string name = "table7/method1_pointwise";
  std::string folder;  // other than the name
  int seed = 11;
  bool pointwise = true;
  int less = 0;  // correct answers taken away
  std::string expect = "{}";
  std::string hostile;  // put into texts everywhere
  testing::FakeMediaStore* media = nullptr;
};

// Makes root/NAME and its stage folders below root/.store.
inline fs::path make_run(const fs::path& root, const InventedRun& run) {
  const std::string& x = run.hostile;
  const fs::path folder = root / (run.folder.empty() ? run.name : run.folder);
  std::string stages;
  auto stage = [&](const std::string& name, const std::string& type, const std::string& inputs) {
    const std::string key = fmt::format("{:016x}", stable_hash(folder.string() + name));
    const fs::path at = root / ".store" / (type + "-" + key);
    fs::create_directories(at);
    fs::create_directories(folder / "stages");
    fs::create_directory_symlink(at, folder / "stages" / name);
    write(
        at.string() + ".cost.json",
        R"({"seconds":1.5,"calls":240,"failures":3,"prompt_tokens":90000,"completion_tokens":20000})");
    stages +=
        fmt::format(R"({}{{"name":"{}","type":"{}","key":"{}","complete":true,"inputs":[{}]}})",
                    stages.empty() ? "" : ",", name, type, key, inputs);
    return at;
  };

  std::string image = R"({"kind":"image","source":"nowhere.png"})";
  Rng rng(7);
  const fs::path scored = stage("distil.pointwise", "score", "");
  const fs::path pairs = stage("distil", "pair", R"("distil.pointwise")");
  std::string candidate_lines, pair_lines;
  for (int p = 0; p < 40; ++p) {
    if (run.media) {
      Image picture{64, 64, std::vector<std::uint8_t>(64 * 64 * 3, static_cast<std::uint8_t>(225))};
      for (int y = 12; y < 52; ++y)
        for (int i = 12; i < 52; ++i)
          if (std::hypot(y - 32, i - 32) < 10 + p % 10)
            picture.rgb[static_cast<std::size_t>((y * 64 + i) * 3 + p % 3)] = 40;
      image = fmt::format(R"({{"kind":"image","id":"{}","mime":"image/png"}})",
                          run.media->put_image(picture, "drawn").id);
    }
    const std::string prompt = fmt::format(
        R"({{"id":"p{}","messages":[{{"role":"user","content":[{{"type":"image","image":{}}},)"
        R"({{"type":"text","text":"How many red discs are there?{}"}}]}}],"reference":"One.","source":"mini",)"
        R"("truth":{{"kind":"count","note":"{}"}}}})",
        p, image, x, x);
    std::string responses, listwise, pointwise, shown;
    auto score = [&](double overall, const char* criterion) {
      return fmt::format(
          R"({{"status":"ok","overall":{:.2f},"stated_overall":{:.1f},"criteria":[{{"name":"{}{}","weight":0.6,"score":7,"analysis":"Names the colour.{}"}},{{"name":"helpfulness","weight":0.4,"score":5,"analysis":"Short."}}],"reply":"RAWREPLY"}})",
          overall, overall, criterion, x, x);
    };
    for (int k = 0; k < 4; ++k) {
      const char* comma = k ? "," : "";
      responses += fmt::format(
          R"({}{{"id":"{}","text":"I count {} of them.{}","mllm":"pool_a","origin":"{}"{}}})",
          comma, k, k, x, k < 3 ? "sampled" : "noised",
          k < 3 ? std::string() : ",\"noised_image\":" + image);
      const double truth = 7 - std::abs(k - 1) * 1.5;
      listwise += comma + score(std::clamp(truth + 0.7 - 0.5 * k + rng.normal(0, 0.8), 0.0, 10.0),
                                "correctness");
      pointwise +=
          k == 3 && p % 9 == 0
              ? std::string(comma) + R"({"status":"unparsed","detail":"no JSON"})"
              : comma + score(std::clamp(truth + rng.normal(0, 0.8), 0.0, 10.0), "correctness");
      shown += fmt::format("{}{}", comma, k);
    }
    candidate_lines +=
        fmt::format(
            R"({{"prompt":{},"candidates":[{}],"scores":{{"listwise":[{}]{}}},"shown":{{"listwise":[{}]{}}}}})",
            prompt, responses, listwise, run.pointwise ? ",\"pointwise\":[" + pointwise + "]" : "",
            shown, run.pointwise ? ",\"pointwise\":[" + shown + "]" : "") +
        "\n";
    pair_lines +=
        fmt::format(
            R"({{"id":"p{}/1-3","prompt":{},"chosen":{{"id":"1","text":"I count 1 of them.{}"}},)"
            R"("rejected":{{"id":"3","text":"I count 3 of them.{}"}},"source":"distil","strength":1.25}})",
            p, prompt, x, x) +
        "\n";
  }
  write(scored / "candidates.jsonl", candidate_lines);
  write(
      scored / "funnel.json",
      R"({"steps":[{"name":"candidates to score","count":160,"dropped":{}},{"name":"scored","count":155,"dropped":{"unparsed":5}}]})");
  write(pairs / "pairs.jsonl", pair_lines);
  write(
      pairs / "funnel.json",
      R"({"steps":[{"name":"couples of candidates","count":240,"dropped":{}},{"name":"pairs on which all scorers agree","count":170,"dropped":{"equal scores":12,"scorers disagree":58}},{"name":"pairs kept","count":40,"dropped":{"over the limit per prompt":130}}]})");
  write(
      stage("audit", "audit", R"("distil")") / "label_noise.json",
      R"({"all":{"right":36,"wrong":3,"tie":1,"unknown":0,"total":40},"sources":{"distil":{"right":36,"wrong":3,"tie":1,"unknown":0,"total":40}}})");
  std::string curve;
  for (int s = 1; s <= 500; ++s)
    curve +=
        fmt::format(
            R"({{"step":{},"total_steps":500,"loss":{:.5f},"accuracy":{:.4f},"margin":{:.4f},"learning_rate":0.001}})",
            s, 0.3 + 0.4 * std::exp(-s / 90.0) + 0.03 * rng.uniform(),
            0.5 + 0.35 * (1 - std::exp(-s / 90.0)), 2.0 * (1 - std::exp(-s / 90.0))) +
        "\n";
  write(stage("train", "train", R"("distil")") / "training.jsonl", curve);
  write(stage("evaluate", "evaluate", R"("train")") / "metrics.json", paper_metrics(run.less));
  write(
      folder / "run.json",
      fmt::format(
          R"({{"name":"{}","profile":"mini","seed":{},"paper":"Table 7{}","about":"Keeps a pair where both scorers agree.{}","version":"0.1.0","expect":{},"stages":[{}]}})",
          run.name, run.seed, x, x, run.expect, stages));
  return folder;
}

}  // namespace dt2it::report_test

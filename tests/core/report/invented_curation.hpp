// SPDX-License-Identifier: Apache-2.0
#pragma once

// A run with one round of curation over ten pairs, small enough to count by hand. Two sets enter
// (a: eight pairs, b: two), two pairs of D0 (d) are merged with what is left, and all are cleaned
// again.
//
//   row  label   vote_flip (m1, m2)  consistency  reannotate (votes)   leaves
//   a0   right   2, 0                keeps                             right
//   a1   wrong   -1.5, -0.5  flips   keeps                             right
//   a2   right   -1, -0.6    flips   keeps                             wrong
//   a3   wrong   -0.3, 0.1           leaves open  flips (1 to 3)       right
//   a4   right   0.3, 0.1            leaves open  keeps (3.5 to 0.5)   right
//   a5   tie     0.5, -0.5           leaves open  drops (2 to 2)
//   a6   right   0.2, 0.2            leaves open  drops (1 to 1)
//   a7   wrong   -2, -1      flips   leaves open  drops (2 to 2)
//   b8   wrong   1, 1                keeps                             wrong
//   b9   unknown 1, 3                leaves open  no answer            unknown
//
// The second time consistency leaves only a2 open, and reannotate flips it.

#include <algorithm>
#include <array>

#include "core/data/pair_identity.hpp"
#include "core/data/records.hpp"
#include "tests/core/report/invented_run.hpp"

namespace dt2it::report_test {

inline PreferencePair curated_pair(const std::string& source, int number,
                                   testing::FakeMediaStore* media,
                                   const std::string& hostile = "") {
  PreferencePair pair;
  pair.id = fmt::format("{}{}", source, number);
  pair.source = source;
  pair.prompt.id = "p" + pair.id;
  Message message;
  if (media) {
    Image picture{
        48, 48,
        std::vector<std::uint8_t>(48 * 48 * 3, static_cast<std::uint8_t>(60 + 15 * number))};
    picture.rgb[static_cast<std::size_t>(number) * 30] = 255;
    message.content.push_back(Part::of_image(media->put_image(picture, "drawn")));
  }
  message.content.push_back(Part::of_text("How many rings?" + hostile));
  pair.prompt.messages.push_back(message);
  pair.chosen = {"x", fmt::format("There are {}.", number), "", "dataset", Status::ok, "", {}, ""};
  pair.rejected = {"y", fmt::format("There is none{}.", hostile), "", "dataset", Status::ok, "", {},
                   ""};
  return pair;
}

inline void turn(PreferencePair& pair) { std::swap(pair.chosen, pair.rejected); }

struct InventedCuration {
  std::string name = "table7/method3_iteration1";
  bool truth = true;
  bool rows = true;      // decisions say which row they are about
  unsigned shuffle = 0;  // other than 0: lines of different pairs stand in another order
  std::string undecided = "keep";
  std::string hostile;
  testing::FakeMediaStore* media = nullptr;
};

inline fs::path make_curated_run(const fs::path& root, const InventedCuration& run) {
  const fs::path folder = root / run.name;
  std::string stages;
  std::map<std::string, std::string> keys;
  const auto stage = [&](const std::string& name, const std::string& type,
                         const std::string& inputs) {
    keys[name] =
        fmt::format("{:016x}{:016x}", stable_hash(folder.string() + name), stable_hash(name));
    const fs::path at = root / ".store" / (type + "-" + keys[name].substr(0, 16));
    fs::create_directories(at);
    fs::create_directories(folder / "stages");
    fs::create_directory_symlink(at, folder / "stages" / name);
    stages +=
        fmt::format(R"({}{{"name":"{}","type":"{}","key":"{}","complete":true,"inputs":[{}]}})",
                    stages.empty() ? "" : ",", name, type, keys[name], inputs);
    return at;
  };
  const auto write_pairs = [](const fs::path& at, const std::vector<PreferencePair>& pairs) {
    std::string lines;
    for (const PreferencePair& pair : pairs) lines += to_json(pair) + "\n";
    write(at / "pairs.jsonl", lines);
  };

  std::vector<PreferencePair> a, b, d;
  for (int i = 0; i < 8; ++i) a.push_back(curated_pair("a", i, run.media, run.hostile));
  for (int i = 8; i < 10; ++i) b.push_back(curated_pair("b", i, run.media, run.hostile));
  for (int i = 0; i < 2; ++i) d.push_back(curated_pair("d", i, run.media, run.hostile));
  write_pairs(stage("distil", "pair", ""), d);
  // Named so that the order in which they enter is not that of their names.
  write_pairs(stage("train.set_z", "collect_pairs", ""), a);
  write_pairs(stage("train.set_b", "collect_pairs", ""), b);

  const fs::path curated =
      stage("train.curated_1", "curate", R"("train.model_0","train.set_b","train.set_z")");
  write(
      curated / "stage.json",
      fmt::format(
          R"({{"params":{{"curators":["vote_flip","consistency","reannotate"],"pairs":["{}","{}"],"undecided":"{}"}},)"
          R"("components":{{"curators.vote_flip":{{"params":{{"reward_models":["m1","m2"]}}}},)"
          R"("curators.consistency":{{"params":{{"reward_model":"current"}}}}}}}})",
          keys["train.set_z"], keys["train.set_b"], run.undecided));
  write(
      curated.string() + ".cost.json",
      R"({"seconds":2.5,"calls":24,"failures":2,"prompt_tokens":9000,"completion_tokens":1000,"ledger":[{"mllm":"judge","endpoint":"https://models.example/v1","model":"j","purpose":"compare","calls":24,"paid":24,"failed":2,"prompt_tokens":9000,"completion_tokens":1000,"cost":0.25}]})");

  std::vector<std::vector<std::string>> decisions;  // by pair
  const auto row_text = [&](std::size_t row) {
    return run.rows ? fmt::format(R"("row":{},)", row) : std::string();
  };
  const std::array<std::array<double, 2>, 10> margins{{{2, 0},
                                                       {-1.5, -0.5},
                                                       {-1, -0.6},
                                                       {-0.3, 0.1},
                                                       {0.3, 0.1},
                                                       {0.5, -0.5},
                                                       {0.2, 0.2},
                                                       {-2, -1},
                                                       {1, 1},
                                                       {1, 3}}};
  const auto flipped_by_vote = [](std::size_t i) { return i == 1 || i == 2 || i == 7; };
  const auto consistent = [](std::size_t i) { return i <= 2 || i == 8; };
  // Answers of a judge to "chosen first" and "rejected first"; "-": none.
  const std::map<std::size_t, std::array<const char*, 4>> answers{
      {3, {"rejected", "rejected", "chosen", "rejected"}},
      {4, {"chosen", "chosen", "chosen", "tie"}},
      {5, {"tie", "tie", "tie", "tie"}},
      {6, {"chosen", "rejected", "-", "-"}},
      {7, {"chosen", "chosen", "rejected", "rejected"}},
      {9, {"-", "-", "-", "-"}}};
  for (std::size_t i = 0; i < 10; ++i) {
    const PreferencePair& pair = i < 8 ? a[i] : b[i - 8];
    const std::string head =
        fmt::format(R"({{"id":"{}","source":"{}",{})", pair.id, pair.source, row_text(i));
    auto& lines = decisions.emplace_back();
    const auto& [m1, m2] = margins[i];
    lines.push_back(
        head +
        fmt::format(
            R"("curator":"vote_flip","action":"{}","settled":false,"reason":"strength {}","strength":{},"strengths":[{},{}]}})",
            flipped_by_vote(i) ? "flip" : "undecided", (m1 + m2) / 2, (m1 + m2) / 2, m1, m2));
    lines.push_back(
        head +
        fmt::format(
            R"("curator":"consistency","action":"{}","settled":{},"reason":"margin","detail":{{"chosen_reward":{},"rejected_reward":0.5}}}})",
            consistent(i) ? "keep" : "undecided", consistent(i), consistent(i) ? 1.5 : 0.25));
    if (!answers.contains(i)) continue;
    double chosen = 0, rejected = 0;
    std::string verdicts;
    for (std::size_t k = 0; k < 4; ++k) {
      const std::string better = answers.at(i)[k];
      if (better == "tie") chosen += 0.5, rejected += 0.5;
      chosen += better == "chosen", rejected += better == "rejected";
      verdicts += fmt::format(
          R"({}{{"judge":"j{}","shown_first":"{}",{}}})", k ? "," : "", k / 2 + 1,
          k % 2 ? "rejected" : "chosen",
          better == "-" ? R"("status":"unavailable")" : "\"better\":\"" + better + "\"");
    }
    const char* action = chosen + rejected == 0 ? "undecided"
                         : chosen == rejected   ? "discard"
                         : chosen > rejected    ? "keep"
                                                : "flip";
    lines.push_back(
        head +
        fmt::format(
            R"("curator":"reannotate","action":"{}","settled":{},"reason":"{}","votes_chosen":{},"votes_rejected":{},"detail":{{"verdicts":[{}]}}}})",
            action, chosen + rejected > 0, chosen == rejected ? "tie" + run.hostile : "votes",
            chosen, rejected, verdicts));
  }
  // One line of each pair in turn, as curators go over a window; or the pairs in another order.
  std::vector<std::size_t> order(10);
  for (std::size_t i = 0; i < 10; ++i) order[i] = i;
  if (run.shuffle) Rng(run.shuffle).shuffle(order);
  std::string text;
  for (std::size_t step = 0; step < 3; ++step)
    for (const std::size_t i : order)
      if (step < decisions[i].size()) text += decisions[i][step] + "\n";
  write(curated / "decisions.jsonl", text);

  std::vector<PreferencePair> left{a[0], a[1], a[2], a[3], a[4], b[0], b[1]};
  for (const std::size_t i : {1, 2, 3}) turn(left[i]);
  if (run.undecided == "discard") left.pop_back();
  write_pairs(curated, left);
  std::vector<PreferencePair> merged = left;
  merged.insert(merged.end(), d.begin(), d.end());
  write_pairs(stage("train.merged_1", "mix", R"("distil","train.curated_1")"), merged);

  const fs::path data =
      stage("train.data_1", "curate", R"("train.interim_model_1","train.merged_1")");
  text.clear();
  for (std::size_t i = 0; i < merged.size(); ++i) {
    const std::string head =
        fmt::format(R"({{"id":"{}","source":"{}",{})", merged[i].id, merged[i].source, row_text(i));
    text += head +
            fmt::format(R"("curator":"consistency","action":"{}","settled":{},"reason":"margin"}})",
                        i == 2 ? "undecided" : "keep", i != 2) +
            "\n";
    if (i == 2)
      text +=
          head +
          R"("curator":"reannotate","action":"flip","settled":true,"reason":"4 votes to 0 against the label","votes_chosen":0,"votes_rejected":4})" +
          "\n";
  }
  write(data / "decisions.jsonl", text);
  turn(merged[2]);
  write_pairs(data, merged);

  const fs::path audit =
      stage("noise", "audit", R"("distil","train.data_1","train.set_b","train.set_z")");
  write(audit / "label_noise.json",
        R"({"all":{"right":7,"wrong":1,"tie":0,"unknown":1,"total":9},"sources":{}})");
  if (run.truth) {
    const char* labels[] = {"right", "wrong", "right", "wrong",   "right", "tie",
                            "right", "wrong", "wrong", "unknown", "right", "right"};
    std::vector<PreferencePair> all = a;
    all.insert(all.end(), b.begin(), b.end());
    all.insert(all.end(), d.begin(), d.end());
    text.clear();
    for (std::size_t i = 0; i < all.size(); ++i) {
      const PairIdentity identity = identity_of(all[i]);
      text += fmt::format(
                  R"({{"id":"{}","source":"{}","label":"{}","pair":"{:016x}","chosen":"{:016x}"}})",
                  all[i].id, all[i].source, labels[i], identity.pair, identity.chosen) +
              "\n";
    }
    write(audit / "truth.jsonl", text);
  }
  write(
      folder / "run.json",
      fmt::format(
          R"({{"name":"{}","profile":"mini","seed":0,"paper":"Table 7","about":"One round.","version":"0.1.0","expect":{{}},"stages":[{}]}})",
          run.name, stages));
  return folder;
}

}  // namespace dt2it::report_test

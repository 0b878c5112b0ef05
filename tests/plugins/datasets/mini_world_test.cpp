// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <catch2/catch.hpp>
#include <cmath>
#include <map>
#include <set>

#include "dt2it/testing/contracts.hpp"
#include "dt2it/testing/fake_context.hpp"
#include "dt2it/testing/fakes.hpp"
#include "plugins/common/mini_world/recogniser.hpp"
#include "plugins/common/mini_world/truth.hpp"
#include "plugins/datasets/mini_world/mini_world_dataset.hpp"

using namespace dt2it;
using namespace dt2it::mini_world;
using dt2it::testing::drain;
using dt2it::testing::FakeContext;

namespace {

const Media& picture_of(const Prompt& prompt) {
  for (const Part& part : prompt.messages.back().content)
    if (part.kind == Part::Kind::image) return part.media;
  throw std::runtime_error("no picture");
}

MiniWorldDataset::Params part(std::string name, std::int64_t count) {
  MiniWorldDataset::Params params;
  params.part = std::move(name);
  params.count = count;
  return params;
}

// Shares of pairs whose label is wrong, and of exact ties.
struct LabelNoise {
  double wrong = 0, tie = 0;
};
LabelNoise label_noise(OpenSet set, const Faults& faults, int count) {
  LabelNoise noise;
  for (int i = 0; i < count; ++i) {
    Rng rng(stable_hash(std::to_string(i)));
    const LabelledPair pair = open_set_pair(set, faults, rng);
    const double difference = pair.chosen.quality.overall - pair.rejected.quality.overall;
    noise.wrong += (difference < -1e-9) / double(count);
    noise.tie += (std::abs(difference) <= 1e-9) / double(count);
  }
  return noise;
}

}  // namespace

TEST_CASE("prompts carry picture, question, reference and truth that agree") {
  FakeContext context;
  MiniWorldDataset dataset(part("prompts", 200), context);
  auto stream = dataset.prompts();
  const auto prompts = drain(*stream);
  REQUIRE(prompts.size() == 200);
  std::set<std::string> ids;
  std::set<Kind> kinds;
  for (const Prompt& prompt : prompts) {
    ids.insert(prompt.id);
    const auto truth = read_truth(prompt.extra);
    REQUIRE(truth);
    REQUIRE(truth->scenes.size() == 1);
    const auto question = parse_question(prompt.messages.back().content.back().text);
    REQUIRE(question);
    CHECK(question->kind == truth->kind);
    kinds.insert(question->kind);
    CHECK(grade(*question, truth->scenes, prompt.reference).right);
    CHECK(grade(*question, truth->scenes, prompt.reference).false_claims == 0);
    CHECK_FALSE(prompt.domain.empty());
    const DecodedImage seen = context.media().decode(picture_of(prompt));
    REQUIRE(seen.status == Status::ok);
    CHECK(recognise(seen.image).scene.objects.size() == truth->scenes[0].objects.size());
  }
  CHECK(ids.size() == 200);
  CHECK(kinds.size() == kSingleKindCount);
}

TEST_CASE("the same parameters give the same records, another seed gives others") {
  FakeContext context(5);
  for (const char* name : {"prompts", "vlfeedback", "t2i", "vl_rewardbench"}) {
    auto params = part(name, 20);
    MiniWorldDataset one(params, context), two(params, context);
    params.seed = 99;
    MiniWorldDataset other(params, context);
    if (std::string(name) == "t2i") {
      const auto all = [](MiniWorldDataset& d) {
        auto s = d.image_preferences();
        return drain(*s);
      };
      CHECK(all(one) == all(two));
      CHECK(all(one) == all(one));
      CHECK_FALSE(all(one) == all(other));
    } else {
      const auto all = [](MiniWorldDataset& d) {
        auto s = d.prompts();
        return drain(*s);
      };
      CHECK(all(one) == all(two));
      CHECK(all(one) == all(one));
      CHECK_FALSE(all(one) == all(other));
    }
  }
}

TEST_CASE("every part keeps the contract of data sets") {
  FakeContext context;
  for (const char* name :
       {"prompts", "rlaif_v", "povid", "vlfeedback", "wildvision", "mm_rlhf", "mmpr", "t2i",
        "vl_rewardbench", "multimodal_rewardbench", "mm_rlhf_rewardbench", "multi_image"}) {
    INFO(name);
    MiniWorldDataset dataset(part(name, 12), context);
    dt2it::testing::check_dataset_contract(dataset, context);
  }
}

TEST_CASE("benchmarks do not change with the experiment's seed, training data do") {
  FakeContext one(1), two(2);
  const auto first_text = [](const char* name, FakeContext& context) {
    MiniWorldDataset dataset(part(name, 30), context);
    auto stream = dataset.pairs();
    std::string text;
    for (const PreferencePair& pair : drain(*stream))
      text += pair.chosen.text + picture_of(pair.prompt).id;
    return text;
  };
  CHECK(first_text("mm_rlhf_rewardbench", one) == first_text("mm_rlhf_rewardbench", two));
  CHECK(first_text("rlaif_v", one) != first_text("rlaif_v", two));
}

TEST_CASE("benchmarks have the shape of the published ones and true labels") {
  FakeContext context;
  struct Expected {
    const char* name;
    std::size_t pairs;
  };
  for (const auto& [name, count] : {Expected{"vl_rewardbench", 1080},
                                    {"multimodal_rewardbench", 1600},
                                    {"mm_rlhf_rewardbench", 150},
                                    {"multi_image", 60}}) {
    MiniWorldDataset::Params params;
    params.part = name;
    if (count == 150) params.count = 50;  // questions
    if (count == 60) params.count = 60;
    MiniWorldDataset dataset(params, context);
    auto stream = dataset.pairs();
    const auto pairs = drain(*stream);
    INFO(name);
    REQUIRE(pairs.size() == count);
    std::map<std::string, int> ids, groups;
    int wrong = 0;
    for (const PreferencePair& pair : pairs) {
      ++ids[pair.id];
      ++groups[pair.group];
      const auto truth = read_truth(pair.prompt.extra);
      REQUIRE(truth);
      const auto question = parse_question(pair.prompt.messages.back().content.back().text);
      REQUIRE(question);
      wrong += grade(*question, truth->scenes, pair.chosen.text).overall <=
               grade(*question, truth->scenes, pair.rejected.text).overall;
    }
    CHECK(wrong == 0);
    if (std::string(name) == "vl_rewardbench") {
      CHECK(groups == std::map<std::string, int>{{"", 1080}});
      const auto with = [&](const char* prefix) {
        return std::count_if(pairs.begin(), pairs.end(),
                             [&](const auto& p) { return p.id.starts_with(prefix); });
      };
      CHECK(with("wildvision") == 180);
      CHECK(with("hallucination") + with("RLAIF") + with("RLHF") == 600);
      CHECK(with("mathverse") + with("mmmu") == 300);
    } else if (std::string(name) == "multimodal_rewardbench") {
      CHECK(groups == std::map<std::string, int>{{"open_generation/correctness_task", 300},
                                                 {"open_generation/preference_task", 250},
                                                 {"knowledge", 200},
                                                 {"reasoning", 300},
                                                 {"safety", 200},
                                                 {"vqa", 350}});
      CHECK(pairs[0].extra ==
            "{\"Category\":\"open_generation/correctness_task\",\"ID\":\"nocaps_00000\"}");
    } else if (std::string(name) == "mm_rlhf_rewardbench") {
      CHECK(ids.size() == 50);
      CHECK(
          std::all_of(ids.begin(), ids.end(), [](const auto& entry) { return entry.second == 3; }));
      for (std::size_t i = 0; i < pairs.size(); i += 3) {
        CHECK(picture_of(pairs[i].prompt) == picture_of(pairs[i + 2].prompt));
        CHECK(pairs[i].chosen.text == pairs[i + 1].chosen.text);
        CHECK(pairs[i].rejected.text == pairs[i + 2].chosen.text);
        CHECK(picture_of(pairs[i].prompt).source.find(pairs[i].group) != std::string::npos);
      }
    } else {
      CHECK(groups.size() == 3);
    }
  }
}

TEST_CASE("in the VL-RewardBench part good looks are no guide") {
  int good_chosen = 0, mixed = 0;
  const auto good = [](Style s) {
    return s == Style::verbose || s == Style::bullet || s == Style::friendly || s == Style::step;
  };
  for (std::size_t i = 0; i < vl_rewardbench_size(1); ++i) {
    Rng rng(stable_hash(std::to_string(i)));
    const auto pair = vl_rewardbench_pair(i, 1, rng).pair;
    if (good(pair.chosen.style) == good(pair.rejected.style)) continue;
    ++mixed;
    good_chosen += good(pair.chosen.style);
  }
  CHECK(good_chosen / double(mixed) == Approx(.35).margin(.06));
}

TEST_CASE("open sets have the faults that they are named for, and none when switched off") {
  struct Row {
    const char* name;
    OpenSet set;
    double least, most;  // wrong labels at the default strength
  };
  for (const Row& row : {Row{"rlaif_v", OpenSet::rlaif_v, .08, .30},
                         {"povid", OpenSet::povid, .03, .10},
                         {"vlfeedback", OpenSet::vlfeedback, .08, .32},
                         {"wildvision", OpenSet::wildvision, .08, .35},
                         {"mm_rlhf", OpenSet::mm_rlhf, .005, .05},
                         {"mmpr", OpenSet::mmpr, 0, .12}}) {
    const LabelNoise usual = label_noise(row.set, {}, 3000);
    const LabelNoise strong = label_noise(row.set, {1, 1}, 3000);
    const LabelNoise none = label_noise(row.set, {0, 0}, 3000);
    INFO(row.name << ": wrong labels " << usual.wrong << " (ties " << usual.tie
                  << "); full strength " << strong.wrong << "; switched off " << none.wrong);
    CHECK(usual.wrong >= row.least);
    CHECK(usual.wrong <= row.most);
    CHECK(strong.wrong >= usual.wrong - .01);
    if (row.set != OpenSet::mmpr)
      CHECK(none.wrong == 0);  // mmpr labels by the answer alone, claims may outweigh it
  }
}

TEST_CASE("style bias without noise bends labels towards good looks") {
  const auto good_share = [](double bias) {
    int good = 0, mixed = 0;
    for (int i = 0; i < 3000; ++i) {
      Rng rng(stable_hash(std::to_string(i)));
      const auto pair = open_set_pair(OpenSet::wildvision, {bias, 0}, rng);
      const auto looks = [](Style s) {
        return s == Style::verbose || s == Style::bullet || s == Style::friendly ||
               s == Style::step;
      };
      if (looks(pair.chosen.style) == looks(pair.rejected.style)) continue;
      ++mixed;
      good += looks(pair.chosen.style);
    }
    return good / double(mixed);
  };
  CHECK(good_share(1) > good_share(0) + .05);
}

TEST_CASE("text-to-image preferences follow fidelity and looks") {
  FakeContext context;
  const auto shares = [&](double noise) {
    auto params = part("t2i", 400);
    params.label_noise = noise;
    MiniWorldDataset dataset(params, context);
    auto stream = dataset.image_preferences();
    std::map<std::string, double> share;
    for (const ImagePreference& preference : drain(*stream)) {
      const auto truth = read_truth(preference.extra);
      REQUIRE(truth);
      share["preferred/" + truth->preferred] += 1 / 400.;
      share["aligned/" + truth->aligned] += 1 / 400.;
      REQUIRE(preference.better.id != preference.worse.id);
      REQUIRE(parse_question("Which image better matches the text: " + preference.text + "?"));
    }
    return share;
  };
  auto usual = shares(.5), none = shares(0);
  CHECK(none["preferred/worse"] == 0);
  CHECK(usual["preferred/worse"] > 0);
  CHECK(usual["preferred/worse"] < .2);
  CHECK(usual["aligned/better"] > 2 * usual["aligned/worse"]);
}

TEST_CASE("streams that a part does not offer are refused with its name") {
  FakeContext context;
  CHECK_THROWS_WITH(MiniWorldDataset(part("prompts", 1), context).pairs(),
                    Catch::Contains("prompts"));
  CHECK_THROWS_AS(MiniWorldDataset(part("t2i", 1), context).pairs(), DataError);
  CHECK_THROWS_AS(MiniWorldDataset(part("povid", 1), context).image_preferences(), DataError);
  CHECK_THROWS_AS(MiniWorldDataset(part("nonsense", 1), context), ConfigError);
  CHECK_THROWS_AS(MiniWorldDataset(part("prompts", 0), context), ConfigError);
}

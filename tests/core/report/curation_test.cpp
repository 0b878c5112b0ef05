// SPDX-License-Identifier: Apache-2.0
// Figures of curation against those that can be counted by hand in invented_curation.hpp.
#include "core/report/curation.hpp"

#include <catch2/catch.hpp>
#include <cmath>
#include <set>

#include "core/report/gallery.hpp"
#include "core/report/html.hpp"
#include "core/report/tables.hpp"
#include "tests/core/report/invented_curation.hpp"

using namespace dt2it;
using namespace dt2it::report;
using dt2it::report_test::make_curated_run;
using dt2it::report_test::TemporaryFolder;

namespace {

using Numbers = std::array<std::int64_t, 4>;
Numbers numbers(const TruthCounts& counts) {
  return {counts.right, counts.wrong, counts.tie, counts.unknown};
}

const VoiceAgreement& agreement(const Curation& curation, const std::string& first,
                                const std::string& second) {
  for (const VoiceAgreement& one : curation.agreements)
    if (std::set{curation.voices[one.first].name, curation.voices[one.second].name} ==
        std::set{first, second})
      return one;
  FAIL("no agreement of " << first << " and " << second);
  throw 0;
}

std::int64_t flowing(const Flow& flow, std::size_t node, bool in) {
  std::int64_t sum = 0;
  for (const FlowLink& link : flow.links)
    if ((in ? link.to : link.from) == node) sum += link.count;
  return sum;
}

}  // namespace

TEST_CASE("what each curator did is counted by source") {
  TemporaryFolder root;
  const RunSummary run = load_run(make_curated_run(root.path(), {}));
  REQUIRE(run.curations.size() == 2);
  const Curation& curation = run.curations[0];
  CHECK(curation.stage == "train.curated_1");
  CHECK(curation.inputs ==
        std::vector<std::string>{"train.set_z", "train.set_b"});  // as they entered
  CHECK(curation.curators == std::vector<std::string>{"vote_flip", "consistency", "reannotate"});
  const Curation::Source& a = curation.sources.at("a");
  REQUIRE(a.steps.size() == 3);
  CHECK(a.steps[0].seen == 8);
  CHECK(a.steps[0].passed_flipped == 3);
  CHECK(a.steps[0].open == 5);
  CHECK(a.steps[1].seen == 8);
  CHECK(a.steps[1].kept == 3);
  CHECK(a.steps[1].open == 5);
  CHECK(a.steps[2].seen == 5);
  CHECK(a.steps[2].kept == 1);
  CHECK(a.steps[2].flipped == 1);
  CHECK(a.steps[2].reasons == std::map<std::string, std::int64_t>{{"tie", 3}});
  CHECK(a.whole.seen == 8);
  CHECK(a.whole.kept == 2);     // a0, a4
  CHECK(a.whole.flipped == 3);  // a1, a2, a3
  CHECK(a.whole.discarded == 3);
  CHECK(a.whole.left_over() == 5);
  CHECK(curation.total().whole.left_over() == 7);  // b8 and b9, which nobody settled
}

TEST_CASE("flips and discards are held against the truth of the label as it was found") {
  TemporaryFolder root;
  const RunSummary run = load_run(make_curated_run(root.path(), {}));
  const Curation::Source& a = run.curations[0].sources.at("a");
  CHECK(numbers(a.whole.found) == Numbers{4, 3, 1, 0});
  // vote_flip: a1 and a7 were wrong, a2 was right; a3 was wrong and stays.
  CHECK(numbers(a.steps[0].flips) == Numbers{1, 2, 0, 0});
  CHECK(*a.steps[0].flip_precision() == Approx(2.0 / 3));
  CHECK(*a.steps[0].flip_recall() == Approx(2.0 / 3));
  CHECK(numbers(a.steps[0].left) == Numbers{5, 2, 1, 0});  // a2 is wrong now
  CHECK(*a.steps[0].left.noise() == Approx(2.0 / 7));
  // consistency changes nothing.
  CHECK(numbers(a.steps[1].found) == Numbers{5, 2, 1, 0});
  CHECK(numbers(a.steps[1].left) == Numbers{5, 2, 1, 0});
  CHECK_FALSE(a.steps[1].flip_precision());
  // reannotate finds a3 wrong, a4, a6 and the turned a7 right, a5 a tie.
  CHECK(numbers(a.steps[2].found) == Numbers{3, 1, 1, 0});
  CHECK(*a.steps[2].flip_precision() == 1);
  CHECK(*a.steps[2].flip_recall() == 1);
  CHECK(numbers(a.steps[2].discards) == Numbers{2, 0, 1, 0});
  CHECK(*a.steps[2].filter_precision() == Approx(1.0 / 3));
  CHECK(*a.steps[2].filter_recall() == Approx(1.0 / 2));
  // The chain as a whole, by the labels the pairs came with.
  CHECK(numbers(a.whole.left) == Numbers{4, 1, 0, 0});
  CHECK(numbers(a.steps[2].left) == numbers(a.whole.left));
  CHECK(*a.whole.found.noise() == Approx(3.0 / 7));
  CHECK(*a.whole.left.noise() == Approx(1.0 / 5));
  CHECK(*a.whole.flip_precision() == Approx(2.0 / 3));
  CHECK(*a.whole.flip_recall() == Approx(2.0 / 3));
  CHECK(numbers(a.whole.discards) == Numbers{1, 1, 1, 0});
  CHECK(*a.whole.filter_precision() == Approx(2.0 / 3));
  CHECK(*a.whole.filter_recall() == Approx(2.0 / 4));
  CHECK(numbers(run.curations[0].sources.at("b").whole.left) == Numbers{0, 1, 0, 1});

  // The next curation knows the pairs again though their labels were turned: a2 is wrong there, and
  // mended.
  const Curation::Source& again = run.curations[1].sources.at("a");
  CHECK(numbers(again.whole.found) == Numbers{4, 1, 0, 0});
  CHECK(*again.whole.flip_precision() == 1);
  CHECK(*again.whole.left.noise() == 0);
}

TEST_CASE("without an audit there is no word on truth, and the counts are the same") {
  TemporaryFolder root;
  const RunSummary run = load_run(make_curated_run(root.path(), {.truth = false}));
  CHECK_FALSE(run.curations[0].truth_known);
  CHECK(run.curations[0].sources.at("a").whole.left_over() == 5);
  CHECK_FALSE(run.curations[0].sources.at("a").whole.flip_precision());
  CHECK(curation_table({&run, 1}).header.size() == 6);
}

TEST_CASE("models and judges: agreement, position, ties") {
  TemporaryFolder root;
  const RunSummary run = load_run(make_curated_run(root.path(), {}));
  const Curation& curation = run.curations[0];
  const VoiceAgreement& models = agreement(curation, "m1", "m2");
  CHECK(models.pairs == 10);
  CHECK(models.same == 7);  // not a0 (0 has a sign of its own), a3, a5
  const double x[] = {2, -1.5, -1, -0.3, 0.3, 0.5, 0.2, -2, 1, 1},
               y[] = {0, -0.5, -0.6, 0.1, 0.1, -0.5, 0.2, -1, 1, 3};
  double mx = 0, my = 0, xy = 0, xx = 0, yy = 0;
  for (int i = 0; i < 10; ++i) mx += x[i] / 10, my += y[i] / 10;
  for (int i = 0; i < 10; ++i)
    xy += (x[i] - mx) * (y[i] - my), xx += (x[i] - mx) * (x[i] - mx),
        yy += (y[i] - my) * (y[i] - my);
  REQUIRE(models.correlation);
  CHECK(*models.correlation == Approx(xy / std::sqrt(xx * yy)));
  // a3 both against, a4 both for, a7 both against the label it came with (its labels were turned
  // when the judge saw it).
  CHECK(agreement(curation, "m1", "j1").pairs == 5);
  CHECK(agreement(curation, "m1", "j1").same == 3);
  CHECK(agreement(curation, "m1", "current").pairs == 10);

  REQUIRE(curation.judges.size() == 2);
  const ComparisonStatistics& one = curation.judges.at("j1");
  CHECK(one.asked == 12);
  CHECK(one.failed.at("unavailable") == 2);  // b9
  CHECK(one.ties == 2);
  CHECK(one.decided() == 8);
  CHECK(one.first_ahead == 5);
  CHECK(one.both_orders == 5);
  CHECK(one.same == 4);  // not a6
  const ComparisonStatistics& two = curation.judges.at("j2");
  CHECK(two.asked - two.answered() == 4);
  CHECK(two.ties == 3);
  CHECK(two.first_ahead == 4);
  CHECK(two.both_orders == 4);
  CHECK(two.same == 2);
  CHECK(curation.judged == 6);
  CHECK(curation.comparisons == 24);
}

TEST_CASE("a pair that two curators had judged is one judged pair") {
  TemporaryFolder root;
  const auto folder = root.path() / "curate";
  const auto line = [](int row, const char* curator, const char* action, const char* better) {
    return fmt::format(
        R"({{"id":"p{0}","source":"s","row":{0},"curator":"{1}","action":"{2}","settled":{3},"detail":{{"verdicts":[)"
        R"({{"judge":"{1}","shown_first":"chosen","better":"{4}"}},{{"judge":"{1}","shown_first":"rejected","better":"{4}"}}]}}}})"
        "\n",
        row, curator, action, std::string_view(action) != "undecided", better);
  };
  report_test::write(folder / "decisions.jsonl", line(0, "cheap", "keep", "chosen") +
                                                     line(1, "cheap", "undecided", "tie") +
                                                     line(1, "expert", "flip", "rejected"));
  RunSummary run;
  run.stages.push_back({"curate", "curate", "key", true, {}, folder, {}, {}});
  run.curations = read_curations(run);
  REQUIRE(run.curations.size() == 1);
  CHECK(run.curations[0].judged == 2);
  CHECK(run.curations[0].comparisons == 6);
  CHECK(run.curations[0].judges.at("cheap").asked == 4);
  CHECK(run.curations[0].judges.at("expert").asked == 2);
  const TextTable cost = curation_cost_table({&run, 1});
  REQUIRE(cost.rows.size() == 1);
  CHECK(std::vector(cost.rows[0].begin(), cost.rows[0].begin() + 6) ==
        std::vector<std::string>{"curate", "2", "2", "6", "6", "0.0"});
}

TEST_CASE("strengths by source and model") {
  TemporaryFolder root;
  const RunSummary run = load_run(make_curated_run(root.path(), {}));
  for (const StrengthHistogram& one : run.curations[0].strengths) {
    INFO(one.source << " " << one.voice);
    std::int64_t sum = 0;
    for (const std::int64_t count : one.bins) sum += count;
    CHECK(sum == (one.source == "a" ? 8 : 2));
    if (one.source != "a" || one.voice != "m1") continue;
    CHECK(one.limit == Approx(2));
    CHECK(one.negative == 4);
    CHECK(one.bins.front() == 1);  // -2
    CHECK(one.bins.back() == 1);   // 2
  }
  CHECK(run.curations[0].strengths.size() == 8);  // two sources; m1, m2, their mean, current
}

TEST_CASE("the order of lines of different pairs does not matter, and rows may be absent") {
  TemporaryFolder root;
  const auto page = [&](const report_test::InventedCuration& how) {
    const std::vector runs{load_run(make_curated_run(
        root.path() / std::to_string(how.shuffle) / (how.rows ? "rows" : "ids"), how))};
    std::string text = page_data(runs, {});
    // Folders differ, and so do the keys made of them.
    const std::size_t stages = text.find("\"stages\":["), training = text.find("\"training\":");
    return text.erase(stages, training - stages);
  };
  const std::string plain = page({});
  CHECK(page({.shuffle = 5}) == plain);
  CHECK(page({.rows = false}) == plain);
}

TEST_CASE("pairs that nobody settles may be dropped") {
  TemporaryFolder root;
  const RunSummary run = load_run(make_curated_run(root.path(), {.undecided = "discard"}));
  const CurationCounts& b = run.curations[0].sources.at("b").whole;
  CHECK(b.discarded == 1);
  CHECK(b.reasons.at("no curator settled it") == 1);
  CHECK(b.left_over() == 1);
}

TEST_CASE("a round is one flow in which no pair is lost") {
  TemporaryFolder root;
  const RunSummary run = load_run(make_curated_run(root.path(), {}));
  const std::vector<Flow> flows = curation_flows(run);
  REQUIRE(flows.size() == 1);
  const Flow& flow = flows[0];
  CHECK(flow.title == "Round 1: train.curated_1 → train.merged_1 → train.data_1");
  CHECK(flow.columns == std::vector<std::string>{"entered", "vote_flip", "consistency",
                                                 "reannotate", "merged", "consistency",
                                                 "reannotate", "left"});
  std::int64_t entered = 0, dropped = 0, left = 0;
  for (std::size_t i = 0; i < flow.nodes.size(); ++i) {
    const FlowNode& node = flow.nodes[i];
    INFO(node.column << " " << node.label);
    const std::int64_t in = flowing(flow, i, true), out = flowing(flow, i, false);
    if (node.kind == FlowNode::Kind::source) {
      CHECK(in == 0);
      entered += out;
    } else if (node.kind == FlowNode::Kind::discarded) {
      CHECK(out == 0);
      dropped += in;
    } else if (node.column == 7) {
      left += in;
    } else {
      CHECK(in == out);
      CHECK(in > 0);
    }
  }
  CHECK(entered == 12);
  CHECK(dropped == 3);
  CHECK(left == 9);
  const auto merged = std::find_if(flow.nodes.begin(), flow.nodes.end(), [](const FlowNode& node) {
    return node.label == "train.merged_1";
  });
  REQUIRE(merged != flow.nodes.end());
  CHECK(flowing(flow, static_cast<std::size_t>(merged - flow.nodes.begin()), true) == 9);
}

TEST_CASE("label changes are shown with the pair as it came in and all that was said of it") {
  TemporaryFolder root;
  testing::FakeMediaStore media;
  const RunSummary run = load_run(make_curated_run(root.path(), {.media = &media}));
  const std::vector<LabelChange> changes = make_changes(run, 24, &media);
  std::set<std::string> seen;
  for (const LabelChange& change : changes) {
    CHECK(seen.insert(change.stage + change.pair.id).second);
    REQUIRE_FALSE(change.steps.empty());
    CHECK(change.pair.pictures.at(0).data_url.starts_with("data:image/png"));
  }
  CHECK(seen.size() == 8);  // a1 ... a7 of the first, a2 of the second
  const auto a1 = std::find_if(changes.begin(), changes.end(),
                               [](const LabelChange& one) { return one.pair.id == "a1"; });
  REQUIRE(a1 != changes.end());
  CHECK(a1->kind == "flipped by vote_flip");
  CHECK(a1->label == "wrong");
  CHECK(a1->pair.chosen == "There are 1.");
  CHECK(a1->steps.at(0).opinions == "m1 -1.5 · m2 -0.5 · strength -1");
  const auto a3 = std::find_if(changes.begin(), changes.end(),
                               [](const LabelChange& one) { return one.pair.id == "a3"; });
  REQUIRE(a3 != changes.end());
  CHECK(a3->steps.at(2).opinions == "j1 rejected, rejected · j2 chosen, rejected · votes 1 to 3");
  CHECK(make_changes(run, 3, nullptr).size() == 3);
}

TEST_CASE("curation in the tables") {
  TemporaryFolder root;
  const std::vector runs{load_run(make_curated_run(root.path(), {}))};
  const TextTable table = curation_table(runs);
  REQUIRE(table.rows.size() == 7);  // all, a, b; all, a, b, d
  CHECK(table.rows[1] == std::vector<std::string>{"train.curated_1: a", "8", "2", "3", "3", "5",
                                                  "42.9", "20.0", "66.7", "66.7", "66.7", "50.0"});
  CHECK(table.rows[2] == std::vector<std::string>{"train.curated_1: b", "2", "2", "0", "0", "2",
                                                  "100.0", "100.0", "", "0.0", "", "0.0"});
  const TextTable cost = curation_cost_table(runs);
  REQUIRE(cost.rows.size() == 1);
  // 6 of 10 pairs were judged, four times each.
  CHECK(cost.rows[0] == std::vector<std::string>{"train.curated_1", "10", "6", "24", "40", "40.0",
                                                 "24", "2", "10000", "0.2500", "2.5"});
  CHECK_THAT(print_tables(runs),
             Catch::Contains("Wrong flipped, %") && Catch::Contains("If all were judged"));
  CHECK(curation_judges_table(runs[0]).rows.at(0) ==
        std::vector<std::string>{"train.curated_1: j1", "12", "16.7", "20.0", "80.0", "62.5"});
}

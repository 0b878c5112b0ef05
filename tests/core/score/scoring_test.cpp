// SPDX-License-Identifier: Apache-2.0
#include "core/score/scoring.hpp"

#include <catch2/catch.hpp>
#include <set>

#include "dt2it/error.hpp"
#include "dt2it/testing/fakes.hpp"

using namespace dt2it;
using namespace dt2it::testing;

namespace {

// Rewards are the lengths of answers; remembers how it was asked.
class Watcher final : public RewardModel {
 public:
  std::vector<std::vector<Reward>> rewards(std::span<const RewardRequest> requests) override {
    std::vector<std::vector<Reward>> all;
    groups.push_back(requests.size());
    if (!announced.empty()) announced_in_time += announced.erase(requests.data());
    for (const RewardRequest& request : requests) {
      CHECK(request.prompt->extra.empty());
      auto& row = all.emplace_back();
      for (std::size_t i = 0; i < request.responses.size(); ++i) {
        const double length = static_cast<double>(request.responses[i].text.size());
        row.push_back(length > 0 ? Reward{Status::ok, length, {}}
                                 : Reward{Status::refused, 0, "nothing there"});
        first_shown_was_chosen += i == 0 && request.original_index[0] == 0;
      }
    }
    if (fail_at && groups.size() == *fail_at) throw ModelError("broken");
    return all;
  }
  void prepare(std::span<const RewardRequest> requests) override {
    if (requests.empty())
      ++taken_back;
    else
      announced.insert(requests.data());
  }
  void finish(std::size_t rows) override { finished = rows; }
  std::size_t batch_size() const override { return 4; }

  std::vector<std::size_t> groups;
  std::set<const RewardRequest*> announced;
  std::size_t announced_in_time = 0, first_shown_was_chosen = 0, taken_back = 0, finished = 0;
  std::optional<std::size_t> fail_at;
};

AnswerRecord record_of(std::size_t row, std::vector<std::string> texts, bool pair) {
  AnswerRecord record;
  record.row = row;
  record.id = std::to_string(row);
  record.prompt = sample_prompt(record.id, "?");
  record.prompt.extra = R"({"truth":1})";
  record.pair = pair;
  for (std::string& text : texts) record.responses.push_back(sample_response("", std::move(text)));
  return record;
}

std::vector<AnswerRecord> many_pairs(std::size_t count) {
  std::vector<AnswerRecord> records;
  for (std::size_t i = 0; i < count; ++i)
    records.push_back(record_of(i, {std::string(i + 2, 'x'), "x"}, true));
  return records;
}

// Fails after its records.
class Breaking final : public Stream<AnswerRecord> {
 public:
  explicit Breaking(std::vector<AnswerRecord> records) : records_(std::move(records)) {}
  bool next(AnswerRecord& record) override {
    if (!records_.next(record)) throw DataError("the disk is gone");
    return true;
  }

 private:
  VectorStream<AnswerRecord> records_;
};

class Numbers final : public Dataset {
 public:
  explicit Numbers(std::size_t count) : count_(count) {}
  std::unique_ptr<Stream<AnswerRecord>> answers(std::function<bool(std::size_t)> wanted) override {
    std::vector<AnswerRecord> records;
    for (std::size_t i = 0; i < count_; ++i)
      if (wanted(i)) records.push_back(record_of(i, {"a"}, false));
    return std::make_unique<VectorStream<AnswerRecord>>(records);
  }

 private:
  const std::size_t count_;
};

}  // namespace

TEST_CASE("Rewards come back in the order of records, whatever order the model saw") {
  Watcher model;
  VectorStream<AnswerRecord> records(many_pairs(30));
  std::vector<ScoreLine> lines;
  std::size_t done = 0;
  Scoring scoring;
  scoring.write = [&](auto some) { lines.insert(lines.end(), some.begin(), some.end()); };
  scoring.done = [&](const AnswerRecord&) { ++done; };
  const ScoringWork work = score_answers(records, model, scoring);
  REQUIRE(lines.size() == 30);
  for (std::size_t i = 0; i < lines.size(); ++i) {
    CHECK(lines[i].row == i);
    CHECK(lines[i].rewards[0].value == static_cast<double>(i + 2));
    CHECK(lines[i].rewards[1].value == 1);
  }
  CHECK(work.records == 30);
  CHECK(work.pairs == 30);
  CHECK(done == 30);
  CHECK(model.groups == std::vector<std::size_t>{4, 4, 4, 4, 4, 4, 4, 2});
  CHECK(model.announced_in_time == 8);  // each group was announced
  CHECK(model.taken_back == 1);
  CHECK(model.finished == 30);
  CHECK(model.first_shown_was_chosen > 5);  // neither always the one nor the other
  CHECK(model.first_shown_was_chosen < 25);
}

TEST_CASE("Candidates, single answers, two prompts, and what cannot be scored") {
  AnswerRecord broken;
  broken.row = 2;
  broken.status = Status::invalid;
  broken.detail = "file:3: no prompt";
  AnswerRecord two = record_of(3, {"xxx", "xx"}, true);
  two.rejected_prompt = sample_prompt("other", "!");
  Watcher model;
  VectorStream<AnswerRecord> records({record_of(0, {"a", "bbb", "cc"}, false),
                                      record_of(1, {"four"}, false), broken, two,
                                      record_of(4, {"x", ""}, true)});
  std::vector<ScoreLine> lines;
  Scoring scoring;
  scoring.write = [&](auto some) { lines.insert(lines.end(), some.begin(), some.end()); };
  score_answers(records, model, scoring);
  REQUIRE(lines.size() == 5);
  CHECK(to_json(lines[0]) == R"({"id":"0","row":0,"status":"ok","rewards":[1,3,2],"best":1})");
  CHECK(to_json(lines[1]) == R"({"id":"1","row":1,"status":"ok","reward":4})");
  CHECK(
      to_json(lines[2]) ==
      R"({"id":"","row":2,"status":"invalid","chosen":null,"rejected":null,"detail":"file:3: no prompt"})");
  CHECK(to_json(lines[3]) ==
        R"({"id":"3","row":3,"status":"ok","chosen":3,"rejected":2,"margin":1})");
  CHECK(
      to_json(lines[4]) ==
      R"({"id":"4","row":4,"status":"refused","chosen":1,"rejected":null,"detail":"nothing there"})");
}

TEST_CASE("A line of which a reward is unavailable is so, and rows that are there count") {
  class Halves final : public RewardModel {
   public:
    std::vector<std::vector<Reward>> rewards(std::span<const RewardRequest> requests) override {
      return std::vector<std::vector<Reward>>(
          requests.size(), {{Status::refused, 0, "no"}, {Status::unavailable, 0, "gone"}});
    }
    void finish(std::size_t rows) override { finished = rows; }
    std::size_t finished = 0;
  } model;
  VectorStream<AnswerRecord> records({record_of(3, {"a", "b"}, false)});
  std::vector<ScoreLine> lines;
  Scoring scoring;
  scoring.rows_there = 9;
  scoring.write = [&](auto some) { lines.insert(lines.end(), some.begin(), some.end()); };
  score_answers(records, model, scoring);
  REQUIRE(lines.size() == 1);
  CHECK(lines[0].status == Status::unavailable);
  CHECK(lines[0].detail == "gone");
  CHECK(model.finished == 9);
}

TEST_CASE("What was scored before an error or a stop has been written") {
  std::vector<ScoreLine> lines;
  Scoring scoring;
  scoring.write = [&](auto some) { lines.insert(lines.end(), some.begin(), some.end()); };
  SECTION("reading fails") {
    Watcher model;
    Breaking records(many_pairs(10));
    CHECK_THROWS_WITH(score_answers(records, model, scoring), "the disk is gone");
    CHECK(lines.size() == 10);
    CHECK(model.taken_back == 1);
  }
  SECTION("the model fails") {
    Watcher model;
    model.fail_at = 3;
    VectorStream<AnswerRecord> records(many_pairs(30));
    CHECK_THROWS_WITH(score_answers(records, model, scoring), "broken");
    CHECK(lines.size() == 8);
    CHECK(model.taken_back == 1);
  }
  SECTION("stopped") {
    Watcher model;
    std::atomic<bool> stop{true};
    scoring.stop = &stop;
    VectorStream<AnswerRecord> records(many_pairs(30));
    score_answers(records, model, scoring);
    CHECK(lines.size() == 4);
    CHECK(model.finished == 0);
  }
}

TEST_CASE("Several inputs are numbered through, wanted or not") {
  std::vector<std::size_t> rows;
  JoinedAnswers joined(
      {std::make_shared<Numbers>(3), std::make_shared<Numbers>(0), std::make_shared<Numbers>(4)},
      [](std::size_t row) { return row % 2 == 0; });
  for (AnswerRecord record; joined.next(record);) rows.push_back(record.row);
  CHECK(rows == std::vector<std::size_t>{0, 2, 4, 6});
}

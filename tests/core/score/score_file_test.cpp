// SPDX-License-Identifier: Apache-2.0
#include "core/score/score_file.hpp"

#include <catch2/catch.hpp>
#include <cmath>

#include "core/util/files.hpp"
#include "dt2it/error.hpp"
#include "tests/core/temporary_folder.hpp"

using namespace dt2it;
using Catch::Matchers::Contains;
using dt2it::testing::TemporaryFolder;
namespace fs = std::filesystem;

namespace {

ScoreLine pair_line(std::size_t row, double chosen, double rejected) {
  ScoreLine line;
  line.row = row;
  line.id = "r" + std::to_string(row);
  line.rewards = {{Status::ok, chosen, {}}, {Status::ok, rejected, {}}};
  return line;
}

bool every_row(std::size_t) { return true; }

const ScoreSettings kSettings{
    {"model", "\"mrm\""}, {"model.dtype", "\"float32\""}, {"shard", "\"0/1\""}};

std::string message_of(const std::function<void()>& work) {
  try {
    work();
  } catch (const std::exception& error) {
    return error.what();
  }
  return "nothing was thrown";
}

// Lines [begin, end).
std::vector<ScoreLine> lines(std::size_t begin, std::size_t end) {
  std::vector<ScoreLine> result;
  for (std::size_t row = begin; row < end; ++row)
    result.push_back(pair_line(row, static_cast<double>(row) / 3, 0.25));
  return result;
}

std::string whole_text(std::size_t count) {
  std::string text;
  for (const ScoreLine& line : lines(0, count)) text += to_json(line) + '\n';
  return text;
}

}  // namespace

TEST_CASE("Lines of scores keep every bit of a reward and say what failed") {
  for (const double value :
       {0.1f + 0.2, 1e-300, -123456.789012345678, static_cast<double>(0.697189331f), -0.0}) {
    const ScoreLine back = score_line_from(to_json(pair_line(7, value, 1.0 / 3)), "here");
    CHECK(back.row == 7);
    CHECK(back.id == "r7");
    REQUIRE(back.rewards.size() == 2);
    CHECK(std::signbit(back.rewards[0].value) == std::signbit(value));
    CHECK(back.rewards[0].value == value);
    CHECK(back.rewards[1].value == 1.0 / 3);
  }
  CHECK(to_json(pair_line(0, 1.5, -0.5)) ==
        R"({"id":"r0","row":0,"status":"ok","chosen":1.5,"rejected":-0.5,"margin":2})");

  ScoreLine failed = pair_line(3, 1, 2);
  failed.status = failed.rewards[1].status = Status::missing_media;
  failed.detail = "no \"picture\"";
  CHECK(
      to_json(failed) ==
      R"({"id":"r3","row":3,"status":"missing_media","chosen":1,"rejected":null,"detail":"no \"picture\""})");
  CHECK(score_line_from(to_json(failed), "").rewards[1].status == Status::missing_media);

  ScoreLine several;
  several.form = ScoreLine::Form::candidates;
  several.rewards = {{Status::ok, 0.5, {}}, {Status::ok, 2, {}}, {Status::ok, 2, {}}, {}};
  CHECK_THAT(to_json(several), Contains(R"("rewards":[0.5,2,2,null],"best":1)"));
  several.form = ScoreLine::Form::single;
  CHECK_THAT(to_json(several), Contains(R"("reward":0.5})"));

  for (const char* text : {"", "[]", "{}", R"({"id":"a","row":0,"status":"ok"})",
                           R"({"id":"a","row":-1,"status":"ok","reward":1})",
                           R"({"id":"a","row":0,"status":"fine","reward":1})",
                           R"({"id":"a","row":0,"status":"ok","chosen":1})",
                           R"({"id":"a","row":0,"status":"ok","reward":"1"})"}) {
    INFO(text);
    CHECK_THROWS_AS(score_line_from(text, "f:1"), DataError);
  }
}

TEST_CASE("Totals count ties as wrong and failures apart") {
  ScoreTotals totals;
  totals.add(pair_line(0, 2, 1));
  totals.add(pair_line(1, 1, 1));
  totals.add(pair_line(2, 0, 1));
  totals.add(pair_line(3, 4, 1));
  ScoreLine failed = pair_line(4, 9, 1);
  failed.status = failed.rewards[1].status = Status::invalid;
  totals.add(failed);
  CHECK(totals.records == 5);
  CHECK(totals.scored_pairs == 4);
  CHECK(totals.correct == 2);
  CHECK(totals.ties == 1);
  CHECK(totals.failed() == 1);
  CHECK(totals.accuracy() == 0.5);
  CHECK(totals.mean_margin() == 0.75);
}

TEST_CASE("A file of scores is taken up wherever its writing ended") {
  const std::string whole = whole_text(10);
  // Every number of bytes that a killed process may have left.
  for (std::size_t left = 0; left <= whole.size(); left += 7) {
    INFO(left << " bytes");
    TemporaryFolder folder;
    const fs::path file = folder.path() / "deep" / "scores.jsonl";
    {
      ScoreFile begun(file, kSettings, every_row, 4);
    }
    write_file_atomically(file.string() + ".part", whole.substr(0, left));
    ScoreFile scores(file, kSettings, every_row, 4);
    const auto kept = static_cast<std::size_t>(
        std::count(whole.begin(), whole.begin() + static_cast<long>(left), '\n'));
    CHECK(scores.next_row() == kept / 4 * 4);
    CHECK(scores.totals().records == scores.next_row());
    scores.append(lines(scores.next_row(), 10));
    CHECK_FALSE(fs::exists(file));
    scores.finish();
    CHECK(scores.complete());
    CHECK(read_file(file) == whole);
    CHECK_FALSE(fs::exists(file.string() + ".part"));
    CHECK(scores.totals().records == 10);
    const ScoreFile again(file, kSettings, every_row, 4);
    CHECK(again.complete());
    CHECK(again.totals().records == 10);
    CHECK(again.totals().mean_margin() == scores.totals().mean_margin());
  }
}

TEST_CASE("What was unavailable is asked again, what is finished is kept") {
  const auto unavailable = [](std::size_t row) {
    ScoreLine line = pair_line(row, 0, 0);
    line.status = line.rewards[0].status = line.rewards[1].status = Status::unavailable;
    return line;
  };
  const auto rows_missing = [](const ScoreFile& scores) {
    const auto missing = scores.missing();
    std::vector<std::size_t> rows;
    for (std::size_t row = 0; row < 10; ++row)
      if (missing(row)) rows.push_back(row);
    return rows;
  };
  using Rows = std::vector<std::size_t>;
  TemporaryFolder folder;
  const fs::path file = folder.path() / "scores.jsonl";
  std::vector<ScoreLine> first = lines(0, 10);
  for (const std::size_t row : {2, 6, 7}) first[row] = unavailable(row);
  const bool whole = GENERATE(true, false);
  {
    ScoreFile scores(file, kSettings, every_row, 4);
    scores.append(first);
    if (whole) scores.finish();
  }
  const std::string then = whole ? read_file(file) : "";
  {
    ScoreFile scores(file, kSettings, every_row, 4);
    CHECK_FALSE(scores.complete());
    CHECK(rows_missing(scores) == Rows{2, 6, 7});
    CHECK(scores.totals().records == 7);
    CHECK(scores.next_row() == 10);
    const ScoreLine again[] = {pair_line(2, 2 / 3.0, 0.25), unavailable(6)};
    scores.append(again);
  }  // interrupted
  if (whole) CHECK(read_file(file) == then);
  {
    ScoreFile scores(file, kSettings, every_row, 4);
    CHECK(rows_missing(scores) == Rows{6, 7});
    CHECK(scores.totals().records == 8);
    const ScoreLine again[] = {pair_line(6, 6 / 3.0, 0.25), unavailable(7)};
    scores.append(again);
    scores.finish();
    CHECK(scores.totals().records == 10);
    CHECK(scores.totals().failed() == 1);
  }
  CHECK_FALSE(fs::exists(file.string() + ".part"));
  {
    ScoreFile scores(file, kSettings, every_row, 4);
    CHECK(rows_missing(scores) == Rows{7});
    const ScoreLine again[] = {pair_line(7, 7 / 3.0, 0.25)};
    scores.append(again);
    scores.finish();
  }
  CHECK(read_file(file) == whole_text(10));
  CHECK(ScoreFile(file, kSettings, every_row, 4).complete());
}

TEST_CASE("What is damaged goes, and all behind it; rows of another order are damage") {
  for (const std::string& bad : {std::string("{\"id\":\"r5\",\"row\""), std::string(30, '\0'),
                                 to_json(pair_line(6, 1, 0))}) {
    TemporaryFolder folder;
    const fs::path file = folder.path() / "scores.jsonl";
    {
      ScoreFile begun(file, kSettings, every_row, 1);
    }
    write_file_atomically(file.string() + ".part",
                          whole_text(5) + bad + '\n' + to_json(pair_line(6, 1, 0)) + '\n');
    const ScoreFile scores(file, kSettings, every_row, 1);
    CHECK(scores.next_row() == 5);
    CHECK(read_file(file.string() + ".part") == whole_text(5));
  }
}

TEST_CASE("Other settings are refused with what differs, and so are files of others") {
  TemporaryFolder folder;
  const fs::path file = folder.path() / "scores.jsonl";
  {
    ScoreFile scores(file, kSettings, every_row, 1);
    CHECK_THAT(message_of([&] { ScoreFile(file, kSettings, every_row, 1); }),
               Contains("is being written by"));
    scores.append(lines(0, 2));
  }
  ScoreSettings other = kSettings;
  other["model.dtype"] = "\"bfloat16\"";
  other["format"] = "\"trl\"";
  const auto refused = [&] {
    const std::string message = message_of([&] { ScoreFile(file, other, every_row, 1); });
    CHECK_THAT(message, Contains("model.dtype is \"float32\" there and \"bfloat16\" now") &&
                            Contains("format is \"trl\" now") && Contains("scores.jsonl") &&
                            Contains("--out"));
  };
  refused();
  {
    ScoreFile scores(file, kSettings, every_row, 1);
    CHECK(scores.next_row() == 2);
    scores.finish();
  }
  refused();
  CHECK(read_file(file) == whole_text(2));
  const fs::path foreign = folder.write("notes.jsonl", "mine\n");
  CHECK_THAT(message_of([&] { ScoreFile(foreign, kSettings, every_row, 1); }),
             Contains("not a file of scores"));
  CHECK(read_file(foreign) == "mine\n");
}

TEST_CASE("Shards share the rows and are put together again") {
  CHECK(Shard::parse("2/3").index == 2);
  for (const char* text : {"", "3/3", "1", "-1/2", "1/2/3", "a/b", "0/0"})
    CHECK_THROWS_AS(Shard::parse(text), ConfigError);
  std::map<std::string, std::string> variables;
  const auto variable = [&](const char* name) {
    const auto found = variables.find(name);
    return found == variables.end() ? nullptr : found->second.c_str();
  };
  CHECK_FALSE(Shard::from_environment(variable));
  variables = {{"SLURM_PROCID", "3"}, {"SLURM_NTASKS", "4"}, {"SLURM_STEP_ID", "0"}};
  CHECK(Shard::from_environment(variable)->text() == "3/4");
  variables["SLURM_STEP_NUM_TASKS"] = "6";  // of the step, when SLURM_NTASKS is still the job's
  CHECK(Shard::from_environment(variable)->text() == "3/6");
  // A script of sbatch without srun is one process, whatever the job asked for.
  variables = {{"SLURM_PROCID", "0"}, {"SLURM_NTASKS", "8"}, {"SLURM_JOB_ID", "17"}};
  CHECK_FALSE(Shard::from_environment(variable));
  for (const char* step : {"4294967291", "4294967290", "-5", "batch", ""}) {
    CAPTURE(step);
    variables["SLURM_STEP_ID"] = step;
    CHECK_FALSE(Shard::from_environment(variable));
  }
  variables["RANK"] = "1", variables["WORLD_SIZE"] = "2";
  CHECK(Shard::from_environment(variable)->text() == "1/2");
  variables["WORLD_SIZE"] = "1";
  CHECK_THROWS_AS(Shard::from_environment(variable), ConfigError);
  CHECK(Shard::parse("1/2").file("a/b.jsonl") == "a/b.1-of-2.jsonl");
  CHECK(Shard{}.file("a/b.jsonl") == "a/b.jsonl");

  TemporaryFolder folder;
  constexpr std::size_t kRows = 45, kShards = 3;
  std::vector<fs::path> files;
  std::vector<int> owners(kRows, 0);
  for (std::size_t i = 0; i < kShards; ++i) {
    const Shard shard{i, kShards};
    ScoreSettings settings = kSettings;
    settings["shard"] = '"' + shard.text() + '"';
    files.push_back(shard.file(folder.path() / "scores.jsonl"));
    ScoreFile scores(files.back(), settings, [&](std::size_t row) { return shard.has(row); }, 1);
    for (const ScoreLine& line : lines(0, kRows))
      if (shard.has(line.row)) {
        ++owners[line.row];
        scores.append({&line, 1});
      }
    if (i + 1 < kShards) scores.finish();
  }
  CHECK(owners == std::vector<int>(kRows, 1));
  const fs::path out = folder.path() / "scores.jsonl";
  CHECK_THAT(message_of([&] { merge_scores(out, files); }),
             Contains("2-of-3") && Contains("not complete"));
  {
    ScoreSettings settings = kSettings;
    settings["shard"] = "\"2/3\"";
    ScoreFile(
        files[2], settings, [](std::size_t row) { return Shard{2, kShards}.has(row); }, 1)
        .finish();
  }
  CHECK_THAT(message_of([&] { merge_scores(out, {files[0], files[1]}); }),
             Contains("2 of 3 shards"));
  CHECK_THAT(message_of([&] { merge_scores(out, {files[0], files[1], files[1]}); }),
             Contains("there already"));
  const ScoreTotals totals = merge_scores(out, {files[2], files[0], files[1]});
  CHECK(totals.records == kRows);
  CHECK(read_file(out) == whole_text(kRows));
  const ScoreFile merged(out, kSettings, every_row, 1);  // as if it had been one
  CHECK(merged.complete());

  write_file_atomically(files[1], read_file(files[1]).substr(read_file(files[1]).find('\n') + 1));
  CHECK_THAT(message_of([&] { merge_scores(folder.path() / "short.jsonl", files); }),
             Contains("row 8 is missing"));
}

// SPDX-License-Identifier: Apache-2.0
// dt2it score as a user runs it.
#include <simdjson.h>

#include <cstdio>
#include <fstream>
#include <set>

#include "core/util/jsonl.hpp"
#include "tests/cli/process.hpp"
#include "tests/paths.hpp"

namespace dt2it {
namespace {

namespace fs = std::filesystem;
using Catch::Matchers::Contains;
using testing::TemporaryFolder;

const fs::path kGolden = source_path("/../shared/golden");

bool no_models() {
#ifndef DT2IT_TEST_TORCH
  std::puts("skipped: this build has no LibTorch");
  return true;
#else
  if (fs::exists(kGolden / "models/qwen3_vl/model.safetensors")) return false;
  std::puts("skipped: the reference models are not there (../shared/golden)");
  return true;
#endif
}

struct Line {
  std::string id, status, detail, text;
  std::int64_t row = -1;
  double chosen = 0, rejected = 0, reward = 0;
};

std::vector<Line> lines_of(const fs::path& file) {
  std::vector<Line> lines;
  simdjson::dom::parser parser;
  LineReader reader(file);
  for (std::string_view text; reader.next(text);) {
    const simdjson::dom::element root = parser.parse(std::string(text));
    Line line;
    line.text = text;
    line.id = std::string(std::string_view(root["id"]));
    line.status = std::string(std::string_view(root["status"]));
    line.row = root["row"];
    std::string_view detail;
    if (!root["detail"].get(detail)) line.detail = detail;
    (void)root["chosen"].get(line.chosen);
    (void)root["rejected"].get(line.rejected);
    (void)root["reward"].get(line.reward);
    lines.push_back(std::move(line));
  }
  return lines;
}

std::string pair_text(std::size_t i, std::size_t longer) {
  return R"({"id":"p)" + std::to_string(i) + R"(","prompt":"Question )" + std::to_string(i) +
         R"(?","chosen":")" + std::string(longer, 'y') + R"(","rejected":"no"})" + "\n";
}

std::string pairs_text(std::size_t count) {
  std::string text;
  for (std::size_t i = 0; i < count; ++i) text += pair_text(i, i % 4);
  return text;
}

double number(const Finished& run, const char* key) {
  simdjson::dom::parser parser;
  return double(simdjson::dom::element(parser.parse(run.out)[key]));
}

// A conversation of the reference cases as a record, pictures by path.
std::string golden_record(const std::string& name, const simdjson::dom::element& one,
                          const simdjson::dom::element& conversation) {
  std::string text = simdjson::minify(conversation);
  for (const auto& [picture, path] : simdjson::dom::object(one["images"])) {
    const std::string mark = R"("image":")" + std::string(picture) + '"';
    for (std::size_t at; (at = text.find(mark)) != std::string::npos;)
      text.replace(at, mark.size(),
                   R"("image":")" + (kGolden / std::string(std::string_view(path))).string() + '"');
  }
  return R"({"id":")" + name + R"(","messages":)" + text + "}\n";
}

}  // namespace

TEST_CASE("Rewards of the reference cases, from records to numbers") {
  if (no_models()) return;
  for (const std::string model : {"qwen3_vl", "qwen2_5_vl"}) {
    TemporaryFolder folder;
    simdjson::dom::parser parser;
    const simdjson::dom::element cases =
        parser.load((kGolden / "forward" / model / "cases.json").string())["cases"];
    std::string records;
    std::vector<double> expected;
    for (const auto& [name, one] : simdjson::dom::object(cases)) {
      if (simdjson::dom::array(one["video_frames"]).size() > 0) continue;
      std::size_t i = 0;
      for (const auto& conversation : simdjson::dom::array(one["conversations"])) {
        records += golden_record(std::string(name), one, conversation);
        expected.push_back(double(simdjson::dom::array(one["reward"]).at(i++)));
      }
    }
    REQUIRE(expected.size() >= 10);
    const fs::path file = folder.write("cases.jsonl", records), out = folder.path() / "out.jsonl";
    const Finished run =
        dt2it({"score", "--model", "mrm:" + (kGolden / "models" / model).string(), file.string(),
               "-o", out.string(), "--set", "head_input=final_norm", "--threads", "1"});
    INFO(run.err);
    REQUIRE(run.code == 0);
    const auto lines = lines_of(out);
    REQUIRE(lines.size() == expected.size());
    for (std::size_t i = 0; i < lines.size(); ++i) {
      INFO(model << " " << lines[i].id << " " << lines[i].detail);
      CHECK(lines[i].status == "ok");
      CHECK(std::abs(lines[i].reward - expected[i]) < 1e-4);
    }
    CHECK_THAT(run.out, Contains("with one answer"));
  }
}

TEST_CASE("A head whose input is not known is said loudly, and can be stated") {
  if (no_models()) return;
  TemporaryFolder folder;
  const fs::path file = folder.write("p.jsonl", pairs_text(3));
  const std::string model = "mrm:" + (kGolden / "models/qwen3_vl").string();
  const Finished silent = dt2it({"score", "--model", model, file.string(), "--threads", "1"});
  CHECK(silent.code == 0);
  CHECK_THAT(silent.err, Contains("dt2it doctor"));
  const Finished stated = dt2it({"score", "--model", model, file.string(), "--threads", "1",
                                 "--set", "head_input=before_norm"});
  CHECK_THAT(stated.err, !Contains("dt2it doctor"));
  CHECK(stated.out != silent.out);
  CHECK(std::count(stated.out.begin(), stated.out.end(), '\n') == 3);
}

TEST_CASE("Killed at any moment and started again, the file has the same bytes") {
  TemporaryFolder folder;
  const bool small = no_models();
  const fs::path file = folder.write("p.jsonl", pairs_text(small ? 200000 : 600));
  Words words{"score", file.string(), "--quiet", "--model"};
  if (small)
    words.push_back("length");
  else
    words.insert(words.end(), {"mrm:" + (kGolden / "models/qwen3_vl").string(), "--set",
                               "batch_size=8", "--threads", "1"});
  const auto with_out = [&](const fs::path& out) {
    Words all = words;
    all.insert(all.end(), {"-o", out.string()});
    return all;
  };
  const fs::path whole = folder.path() / "whole.jsonl", killed = folder.path() / "killed.jsonl";
  REQUIRE(dt2it(with_out(whole)).code == 0);
  int kills = 0;
  for (int attempt = 0; attempt < 40 && !fs::exists(killed); ++attempt) {
    const auto size = [&] {
      std::error_code none;
      const auto bytes = fs::file_size(killed.string() + ".part", none);
      return none ? std::uintmax_t{0} : bytes;
    };
    const std::uintmax_t before = size();
    Process process(dt2it_words(with_out(killed)));
    while (!process.ended_within(std::chrono::milliseconds(3)) && size() <= before) {
    }
    process.ended_within(std::chrono::milliseconds(attempt % 7));
    process.signal(SIGKILL);
    kills += process.wait().signal == SIGKILL;
    if (attempt == 2) {  // a torn line, as a crash of the machine may leave it
      std::ofstream torn(killed.string() + ".part", std::ios::app);
      torn << R"({"id":"p)";
    }
  }
  CHECK(kills > 0);
  const Finished last = dt2it(with_out(killed));
  INFO(last.err);
  CHECK(last.code == 0);
  CHECK(read_file(killed) == read_file(whole));
  CHECK_THAT(dt2it(with_out(killed)).err, Contains("is complete already"));
}

TEST_CASE("Shards by flag and by environment make the same file as one process") {
  TemporaryFolder folder;
  const fs::path a = folder.write("a.jsonl", pairs_text(37)),
                 b = folder.write("b.jsonl", pairs_text(20));
  const fs::path one = folder.path() / "one.jsonl", many = folder.path() / "many.jsonl";
  const Words words{"score", a.string(), b.string(), "--model", "length", "--quiet", "-o"};
  const auto score = [&](const fs::path& out, const Words& more,
                         const std::map<std::string, std::string>& environment = {}) {
    Words all = words;
    all.push_back(out.string());
    all.insert(all.end(), more.begin(), more.end());
    const Finished run = dt2it(all, environment);
    INFO(run.err);
    CHECK(run.code == 0);
  };
  score(one, {});
  score(many, {"--shard", "0/3"});
  score(many, {}, {{"RANK", "1"}, {"WORLD_SIZE", "3"}});
  score(many, {}, {{"SLURM_PROCID", "2"}, {"SLURM_NTASKS", "3"}, {"SLURM_STEP_ID", "0"}});
  const auto part = [&](int i) {
    return (folder.path() / ("many." + std::to_string(i) + "-of-3.jsonl")).string();
  };
  const Finished merged =
      dt2it({"score", "--merge", "-o", many.string(), part(0), part(1), part(2), "--json"});
  INFO(merged.err);
  CHECK(merged.code == 0);
  CHECK(number(merged, "records") == 57);
  CHECK(read_file(many) == read_file(one));
  CHECK(lines_of(one).back().row == 56);
  CHECK(dt2it({"score", "--merge", "-o", (folder.path() / "x").string(), part(0), part(1)}).code ==
        2);
}

TEST_CASE("Scores are what reward_models/replay reads, and the summary adds them up") {
  TemporaryFolder folder;
  std::string text;
  for (std::size_t i = 0; i < 12; ++i) text += pair_text(i, i % 4);  // lengths 0 1 2 3 against 2
  text += "{\"id\":\"broken\"\n";
  text += R"({"id":"gone","prompt":"Q","chosen":"yes","rejected":"no","image":"gone.png"})"
          "\n";
  const fs::path file = folder.write("p.jsonl", text), out = folder.path() / "out.jsonl",
                 again = folder.path() / "again.jsonl";
  const Finished run =
      dt2it({"score", file.string(), "--model", "length", "-o", out.string(), "--json"});
  INFO(run.err);
  REQUIRE(run.code == 0);
  CHECK(number(run, "records") == 14);
  CHECK(number(run, "scored_pairs") == 13);
  CHECK(number(run, "correct") == 4);
  CHECK(number(run, "ties") == 3);
  CHECK(number(run, "mean_margin") == Approx((-2 - 1 + 0 + 1) * 3 / 13.0 + 1 / 13.0));
  CHECK(number(run, "pairs_per_second") > 0);
  const auto lines = lines_of(out);
  REQUIRE(lines.size() == 14);
  CHECK(lines[12].status == "invalid");
  CHECK_THAT(lines[12].detail, Contains("p.jsonl:13"));
  CHECK(lines[13].status == "ok");  // this model needs no picture
  const Finished replayed =
      dt2it({"score", file.string(), "--model", "replay:" + out.string(), "-o", again.string()});
  INFO(replayed.err);
  REQUIRE(replayed.code == 0);
  const auto twice = lines_of(again);
  for (std::size_t i = 0; i < lines.size(); ++i) {
    CHECK(twice[i].chosen == lines[i].chosen);
    CHECK(twice[i].rejected == lines[i].rejected);
  }
}

TEST_CASE("A picture that is not there is a status on its line") {
  if (no_models()) return;
  TemporaryFolder folder;
  folder.write("broken.png", "no picture at all");
  const std::string text =
      R"({"id":"a","prompt":"Q","chosen":"yes","rejected":"no","image":"gone.png"})"
      "\n"
      R"({"id":"b","prompt":"Q","chosen":"yes","rejected":"no","image":"broken.png"})"
      "\n"
      R"({"id":"c","prompt":"Q","chosen":"yes","rejected":"no"})"
      "\n";
  const fs::path file = folder.write("p.jsonl", text), out = folder.path() / "out.jsonl";
  const Finished run =
      dt2it({"score", file.string(), "--model", "mrm:" + (kGolden / "models/qwen2_5_vl").string(),
             "-o", out.string(), "--threads", "1"});
  INFO(run.err);
  CHECK(run.code == 0);
  const auto lines = lines_of(out);
  REQUIRE(lines.size() == 3);
  CHECK(lines[0].status == "missing_media");
  CHECK_THAT(lines[0].detail, Contains("gone.png"));
  CHECK(lines[1].status == "missing_media");
  CHECK(lines[2].status == "ok");
  CHECK_THAT(run.out, Contains("2 missing_media"));
}

TEST_CASE("What was asked wrongly is said") {
  TemporaryFolder folder;
  const std::string file = folder.write("p.jsonl", pairs_text(4)).string(),
                    out = (folder.path() / "out.jsonl").string();
  const auto refused = [](const Words& words, int code, const std::string& what) {
    Words all{"score"};
    all.insert(all.end(), words.begin(), words.end());
    const Finished run = dt2it(all);
    INFO(run.err);
    CHECK(run.code == code);
    CHECK_THAT(run.err, Contains(what));
  };
  refused({}, 2, "no input");
  refused({file}, 2, "no reward model");
  refused({file, "--model", "lenght"}, 2, "length");
  refused({file, "--model", "length", "--dtype", "bfloat16"}, 2, "takes no --dtype");
  refused({file, "--model", "length", "--set", "colour=red"}, 2, "colour");
  refused({file, "--model", "length", "--format", "xml"}, 2, "sharegpt");
  refused({file, "--model", "length", "--shard", "3/3"}, 2, "3/3");
  refused({(folder.path() / "gone.jsonl").string(), "--model", "length"}, 4, "gone.jsonl");
  refused({folder.write("empty.jsonl", "\n").string(), "--model", "length"}, 4, "no records");
  CHECK(dt2it({"score", file, "--model", "length", "-o", out}).code == 0);
  refused({file, "--model", "constant", "-o", out}, 2,
          "model is \"length\" there and \"constant\" now");
  folder.write("p.jsonl", pairs_text(5));
  refused({file, "--model", "length", "-o", out}, 2, "content is");
  for (const char* made : {"", "/new/"})
    refused({file, "--model", "length", "-o", folder.path().string() + made}, 2, "is a folder");
  CHECK_FALSE(std::filesystem::exists(folder.path() / "new"));
  CHECK(dt2it({"score", "--help"}).code == 0);
}

}  // namespace dt2it

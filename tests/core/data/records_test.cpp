// SPDX-License-Identifier: Apache-2.0
#include "core/data/records.hpp"

#include <catch2/catch.hpp>
#include <cmath>
#include <functional>
#include <optional>
#include <tuple>

#include "core/util/files.hpp"
#include "dt2it/error.hpp"
#include "dt2it/rng.hpp"
#include "tests/core/temporary_folder.hpp"
#include "tests/paths.hpp"

using namespace dt2it;
using dt2it::testing::TemporaryFolder;
namespace fs = std::filesystem;

namespace {

const fs::path kFixtures = source_path("/tests/fixtures/jsonl");

template <class Reader, class Record>
std::vector<Record> read_all(const fs::path& file) {
  std::vector<Record> records;
  Reader reader(file);
  for (Record record; reader.next(record);) records.push_back(record);
  return records;
}

std::vector<Prompt> prompts_in(const fs::path& file) {
  return read_all<PromptReader, Prompt>(file);
}
std::vector<PreferencePair> pairs_in(const fs::path& file) {
  return read_all<PairReader, PreferencePair>(file);
}

template <class Record>
std::string lines(const std::vector<Record>& records) {
  std::string text;
  for (const Record& record : records) text += to_json(record) + "\n";
  return text;
}

std::string message_of(const std::function<void()>& action) {
  try {
    action();
  } catch (const DataError& error) {
    return error.what();
  }
  return "";
}

}  // namespace

TEST_CASE("Files in our own form come back byte for byte") {
  CHECK(lines(prompts_in(kFixtures / "prompts.jsonl")) == read_file(kFixtures / "prompts.jsonl"));
  // 1.50 was written in Python, which knows only 1.5; the pair's own keys come before unknown ones.
  CHECK(lines(pairs_in(kFixtures / "pairs.jsonl")) == read_file(kFixtures / "pairs.jsonl"));
  CHECK(lines(read_all<ImagePreferenceReader, ImagePreference>(kFixtures /
                                                               "image_preferences.jsonl")) ==
        read_file(kFixtures / "image_preferences.jsonl"));
}

TEST_CASE("Members are read into their places") {
  const std::vector<PreferencePair> pairs = pairs_in(kFixtures / "pairs.jsonl");
  REQUIRE(pairs.size() == 2);
  const PreferencePair& pair = pairs[0];
  CHECK(pair.id == "q1");
  CHECK(pair.prompt.messages.at(0).content.at(0).media.width == 64);
  CHECK(pair.prompt.messages.at(0).content.at(1).text == "How many lamps are lit?");
  CHECK(pair.prompt.extra == R"({"note":"kept"})");
  CHECK(pair.rejected.status == Status::truncated);
  CHECK(pair.rejected.noised_image.source == "pictures/one.png");
  CHECK(pair.strength == 0.1 + 0.2);
  CHECK(pair.strengths == std::vector<double>{1.0 / 3, -2.5e-17});
  CHECK_FALSE(pair.rejected_prompt);
  CHECK(pairs[1].rejected_prompt->id == "p3");
  CHECK(pairs[1].rejected_prompt->messages[0].content[0].media.kind == Media::Kind::video);
  CHECK(pairs[1].rejected_prompt->messages[0].content[0].media.frames.size() == 2);
  CHECK(pairs[1].rejected_prompt->messages[0].content[1].text ==
        std::string("line\r\nbreak \u2028 \u0085 nul ") + '\0' + " emoji \U0001f600 end");
  CHECK_FALSE(pairs[1].strength);
}

TEST_CASE("Unknown keys keep their bytes: huge numbers, spaces, half surrogate pairs") {
  const std::vector<Prompt> prompts = prompts_in(kFixtures / "odd_prompts.jsonl");
  REQUIRE(prompts.size() == 3);
  CHECK(prompts[0].extra ==
        R"({"huge":123456789012345678901234567890,"small":1.10,"beyond":1e400})");
  CHECK(prompts[1].messages.at(0).content.at(0).text == "half \xED\xA0\xBD pair \xED\xB0\x80");
  CHECK(prompts[1].extra == R"({"kept":{"half":"\ud800","pair":"\ud83d\ude00"}})");
  CHECK(prompts[2].extra == R"({"spaced":{ "a" : [ 1.0 , 2 ] }})");
  CHECK(prompts[2].reference.empty());

  const TemporaryFolder folder;
  const std::string written = lines(prompts);
  CHECK(prompts_in(folder.write("again.jsonl", written)) == prompts);
  CHECK(lines(prompts_in(folder.path() / "again.jsonl")) == written);
}

TEST_CASE("Unknown keys laid out in lines by a plugin stay one record") {
  Prompt prompt;
  prompt.id = "p";
  prompt.extra = "{\n  \"a\": \"x\\ny\",\n  \"b\": [1]\n}\n";
  const TemporaryFolder folder;
  const std::vector<Prompt> back = prompts_in(folder.write("a.jsonl", to_json(prompt) + "\n"));
  REQUIRE(back.size() == 1);
  CHECK(back[0].extra == "{\"a\":\"x\\ny\",\"b\":[1]}");
  prompt.extra = " { } ";
  CHECK(to_json(prompt) == R"({"id":"p","messages":[]})");
}

TEST_CASE("Scores and margins without a value come back without a value") {
  Score score;
  score.status = Status::ok;
  score.overall = 7.25;
  score.stated_overall = 7;
  score.criteria = {{"accuracy", 0.6, 8, "fits"}, {"tone", 0.4, 6.125, ""}};
  score.judge_reference = "a reference";
  score.reply = "raw \"reply\"\n";
  simdjson::dom::parser parser;
  const auto back = [&](const Score& given) {
    const std::string text = to_json(given);
    return score_from(JsonRef(parser.parse(text)), "f:1");
  };
  const Score same = back(score);
  CHECK(same.ok());
  CHECK(same.overall == 7.25);
  CHECK(same.stated_overall == 7.0);
  CHECK(same.criteria == score.criteria);
  CHECK(same.reply == score.reply);
  score.status = Status::unparsed;
  score.detail = "no JSON";
  CHECK(std::isnan(back(score).overall));
  CHECK(back(score).status == Status::unparsed);

  PreferencePair pair = pairs_in(kFixtures / "pairs.jsonl")[0];
  pair.strengths = {1, std::nan("")};
  const std::string text = to_json(pair);
  const PreferencePair read = pair_from(JsonRef(parser.parse(text)), "f:1");
  REQUIRE(read.strengths.size() == 2);
  CHECK(read.strengths[0] == 1);
  CHECK(std::isnan(read.strengths[1]));
}

TEST_CASE("Outcomes, metrics and training steps as JSON") {
  Outcome outcome;
  outcome.row = 4;
  outcome.id = "x";
  CHECK(to_json(outcome) == R"({"row":4,"id":"x","status":"invalid"})");
  outcome.status = Status::ok;
  outcome.chosen_reward = 0.1;
  CHECK(to_json(outcome) ==
        R"({"row":4,"id":"x","status":"ok","chosen_reward":0.1,"rejected_reward":0})");
  CHECK(to_json(Metric{"acc", 0.5, 1, 2}) == R"({"name":"acc","value":0.5,"correct":1,"total":2})");
  CHECK(to_json(Metric{"plain", 2.5, {}, {}}) == R"({"name":"plain","value":2.5})");
  TrainStep step;
  step.step = 3;
  step.loss = std::nan("");
  CHECK_THAT(to_json(step), Catch::StartsWith(R"({"step":3,"total_steps":0,"loss":null,)"));
}

TEST_CASE("What cannot be read is named with file, line, key and what is allowed") {
  const TemporaryFolder folder;
  const std::string good = R"({"id":"g","messages":[]})"
                           "\n\n";
  const std::string part = R"({"id":"x","messages":[{"role":"user","content":[)";
  const std::vector<std::pair<std::string, std::string>> cases = {
      {"{\"id\":", "not valid JSON"},
      {"[1]", "'prompt' must be a JSON object"},
      {"{\"id\":\"x\"}", "must have 'messages'"},
      {"{\"id\":\"x\",\"messages\":null}", "must have 'messages'"},
      {"{\"id\":7,\"messages\":[]}", "'id' must be a string"},
      {"{\"id\":\"x\",\"messages\":{}}", "'messages' must be a list"},
      {R"({"id":"x","messages":[{"role":"bot","content":[]}]})",
       "'role' is 'bot' (allowed: system, user, assistant)"},
      {R"({"id":"x","messages":[{"role":"user"}]})", "a message must have 'role' and 'content'"},
      {R"({"id":"x","messages":[{"role":"user","content":[],"name":1}]})",
       "unknown key 'name' in a message"},
      {part + R"({"type":"sound"}]}]})", "'type' is 'sound' (allowed: text, image, video)"},
      {part + R"({"text":"x"}]}]})", "must have 'type'"},
      {part + R"({"type":"image","text":"x"}]}]})",
       "of type 'image' must have 'image' and nothing else"},
      {part + R"({"type":"image","image":{"id":"12"}}]}]})", "64 lower-case hexadecimal digits"},
      {part + R"({"type":"image","image":{"kind":"film"}}]}]})",
       "'kind' is 'film' (allowed: image, video)"},
      {part + R"({"type":"image","image":{"width":-1}}]}]})", "'width' must be an integer from 0"},
      {part + R"({"type":"image","image":{"width":1.5}}]}]})", "'width' must be an integer from 0"},
      {part + R"({"type":"image","image":{"url":"x"}}]}]})",
       "unknown key 'url' in a media (allowed: kind, id,"},
      {"{\"id\":\"\xff\",\"messages\":[]}", "not valid JSON"},
  };
  for (const auto& [line, expected] : cases) {
    const fs::path file = folder.write("p.jsonl", good + line + "\n");
    const std::string message = message_of([&] { prompts_in(file); });
    CHECK_THAT(message, Catch::StartsWith(file.string() + ":3: "));
    CHECK_THAT(message, Catch::Contains(expected));
  }
  const std::string p = R"({"prompt":{"messages":[]},"chosen":{"text":"a"},)";
  for (const auto& [line, expected] : std::vector<std::pair<std::string, std::string>>{
           {p + "\"id\":\"x\"}", "must have 'prompt', 'chosen' and 'rejected'"},
           {p + R"("rejected":{}})", "a response must have 'text'"},
           {p + R"("rejected":{"text":"b","status":"fine"}})",
            "'status' is 'fine' (allowed: ok, unparsed,"},
           {p + R"("rejected":{"text":"b"},"strength":"1"})", "'strength' must be a number"},
           {p + R"("rejected":{"text":"b"},"strength":1e400})", ""},
           {p + R"("rejected":{"text":"b"},"strengths":[1,true]})",
            "'strengths' must be a number"}}) {
    const fs::path file = folder.write("q.jsonl", line);
    const std::string message = message_of([&] { pairs_in(file); });
    if (expected.empty()) continue;
    CHECK_THAT(message, Catch::StartsWith(file.string() + ":1: "));
    CHECK_THAT(message, Catch::Contains(expected));
  }
  CHECK_THAT(message_of([&] { prompts_in(folder.path() / "no.jsonl"); }),
             Catch::Contains("no.jsonl: cannot be opened"));
  // Deeper than any honest record.
  const fs::path deep =
      folder.write("d.jsonl", "{\"messages\":[],\"x\":" + std::string(100'000, '['));
  CHECK_THAT(message_of([&] { prompts_in(deep); }),
             Catch::StartsWith(deep.string() + ":1: not valid JSON"));
}

namespace {

// One seeded damage: bytes flipped, a cut, a key renamed, a value of another type, lines shuffled into each other.
std::string mutate(std::string text, Rng& rng) {
  const auto somewhere = [&](char c) {
    std::vector<std::size_t> places;
    for (std::size_t i = 0; i < text.size(); ++i)
      if (text[i] == c) places.push_back(i);
    return places.empty() ? std::string::npos : places[rng.below(places.size())];
  };
  const bool gentle = rng.chance(0.3);  // so that some files can still be read
  for (int k = gentle ? 1 : rng.integer(1, 2); k > 0 && !text.empty(); --k) {
    switch (gentle ? rng.integer(6, 8) : rng.integer(0, 9)) {
      case 0: text[rng.below(text.size())] = static_cast<char>(rng.below(256)); break;
      case 1: text.resize(rng.below(text.size())); break;
      case 2: text.erase(rng.below(text.size()), rng.below(40)); break;
      case 3:  // a key of another name
        if (const std::size_t at = somewhere(':'); at != std::string::npos && at > 2)
          text[at - 2] = 'Z';
        break;
      case 4:  // a value of another type
        if (const std::size_t at = somewhere(':'); at != std::string::npos) {
          const char* values[] = {"null,\"y\":",
                                  "[],\"y\":",
                                  "-1e999,\"y\":",
                                  "\"\\ud800\",\"y\":",
                                  "99999999999999999999,\"y\":",
                                  "{\"a\":{}},\"y\":",
                                  "true,\"y\":"};
          text.insert(at + 1, values[rng.below(std::size(values))]);
        }
        break;
      case 5: text.insert(rng.below(text.size()), 1, "\n\r{}[]\",\\"[rng.below(9)]); break;
      case 6:
      case 7:  // within a text, mostly
        if (const std::size_t at = somewhere(' '); at != std::string::npos)
          text[at] = "\t\r\x7fx"[rng.below(4)];
        break;
      case 8:  // an unknown key more
        if (const std::size_t at = somewhere('{'); at != std::string::npos)
          text.insert(at + 1, "\"new\":[1e999,\"\\udfff\"],");
        break;
      default: {
        const std::size_t from = rng.below(text.size());
        text.insert(rng.below(text.size()), text.substr(from, rng.below(200)));
      }
    }
  }
  return text;
}

}  // namespace

TEST_CASE("300 damaged files: read, or refused with file and line") {
  const TemporaryFolder folder;
  using Lines = std::string (*)(const fs::path&);  // what a file of that kind holds, written again
  const std::tuple<std::string, Lines> kinds[] = {
      {read_file(kFixtures / "prompts.jsonl") + read_file(kFixtures / "odd_prompts.jsonl"),
       [](const fs::path& file) { return lines(prompts_in(file)); }},
      {read_file(kFixtures / "pairs.jsonl"),
       [](const fs::path& file) { return lines(pairs_in(file)); }},
      {read_file(kFixtures / "image_preferences.jsonl"), [](const fs::path& file) {
         return lines(read_all<ImagePreferenceReader, ImagePreference>(file));
       }}};
  int read = 0, refused = 0;
  for (int i = 0; i < 300; ++i) {
    CAPTURE(i);
    Rng rng(static_cast<std::uint64_t>(i));
    const auto& [source, rewrite] = kinds[i % 3];
    const fs::path file = folder.write("m.jsonl", mutate(source, rng));
    std::string written;
    const std::string message = message_of([&, rewrite = rewrite] { written = rewrite(file); });
    if (message.empty()) {
      ++read;
      // What was read can be written and read again to the same text.
      const fs::path again = folder.write("again.jsonl", written);
      CHECK(rewrite(again) == written);
    } else {
      ++refused;
      REQUIRE_THAT(message, Catch::StartsWith(file.string() + ":"));
      const std::string after = message.substr(file.string().size() + 1);
      CHECK(std::isdigit(static_cast<unsigned char>(after.at(0))));
      CHECK(after.find(": ") != std::string::npos);
    }
  }
  CHECK(read > 30);
  CHECK(refused > 150);
}

namespace {

template <class Record>
bool quickly(std::string text, Record& record) {
  text.reserve(text.size() + QuickReader::kPadding);
  QuickReader reader;
  return reader.read(text, record);
}

// What the strict reader makes of a text; nothing when it refuses.
template <class Record, class From>
std::optional<Record> strictly(const std::string& text, From from) {
  JsonParser parser;
  try {
    return from(parser.parse(text, "x:1"), "x:1");
  } catch (const DataError&) {
    return std::nullopt;
  }
}

std::vector<std::string> lines_of(const fs::path& file) {
  std::vector<std::string> found;
  LineReader reader(file);
  for (std::string_view line; reader.next(line);)
    if (!line.empty()) found.emplace_back(line);
  return found;
}

// Cut, a byte replaced, a part doubled or exchanged for what JSON may hold.
std::string damaged(std::string text, Rng& rng) {
  static const std::vector<std::string> kParts{"null",
                                               "\"\\ud800\"",
                                               "1e999",
                                               "-0",
                                               "12345678901234567890123",
                                               "\"\\u00e9\\n\"",
                                               "{}",
                                               "[]",
                                               ",",
                                               "\"id\":\"again\",",
                                               "\\",
                                               "\"",
                                               " ",
                                               "true",
                                               "nul",
                                               "{\"a\":[1,{\"b\":\"\\q\"}]}"};
  for (int changes = rng.integer(1, 3); changes > 0; --changes) {
    const std::size_t at = rng.below(text.size());
    const std::string& part = kParts[rng.below(kParts.size())];
    switch (rng.below(5)) {
      case 0: text.resize(at); break;
      case 1: text[at] = static_cast<char>(rng.below(256)); break;
      case 2: text.insert(at, part); break;
      case 3: text.replace(at, std::min<std::size_t>(rng.below(8), text.size() - at), part); break;
      default:
        // A whole value for another.
        if (const std::size_t colon = text.find(':', at); colon != text.npos)
          if (const std::size_t end = text.find_first_of(",}", colon); end != text.npos)
            text.replace(colon + 1, end - colon - 1, part);
    }
    if (text.empty()) return " ";
  }
  return text;
}

}  // namespace

TEST_CASE("What is read quickly is what is read strictly; what we write is read quickly") {
  const std::vector<std::string> pairs = lines_of(kFixtures / "pairs.jsonl"),
                                 prompts = lines_of(kFixtures / "prompts.jsonl"),
                                 images = lines_of(kFixtures / "image_preferences.jsonl");
  PreferencePair plain;
  plain.id = "p";
  plain.prompt.id = "q";
  plain.prompt.messages = {
      {Message::Role::user, {Part::of_text("line\nbreak \"quoted\" \\ café 😀")}}};
  plain.chosen.text = "tab\t";
  plain.rejected.text = "";
  plain.strength = 0.1;
  plain.strengths = {1e-300, -2};
  plain.extra = R"({"scores":{"a":{"1":2.50}},"n":[1, 2]})";
  PreferencePair again;
  REQUIRE(quickly(to_json(plain), again));
  CHECK(again == plain);
  again = {};
  CHECK(quickly("\t" + to_json(plain) + " \r", again));
  CHECK(again == plain);
  again = {};
  CHECK_FALSE(quickly(to_json(plain) + "{}", again));
  CHECK_FALSE(quickly(
      R"({"id":"a","id":"b","prompt":{"messages":[]},"chosen":{"text":""},"rejected":{"text":""}})",
      again));

  Rng rng(11);
  std::size_t quick = 0, refused = 0;
  const auto compare = [&]<class Record>(const std::string& text, Record*, auto from) {
    static Record read;  // holds what was read, or half read, before
    CAPTURE(text);
    const bool good = quickly(text, read);
    const std::optional<Record> strict = strictly<Record>(text, from);
    quick += good;
    refused += !strict;
    if (!good) return;
    REQUIRE(strict);
    REQUIRE(to_json(read) == to_json(*strict));
    REQUIRE(read == *strict);
  };
  for (int round = 0; round < 400; ++round) {
    for (const std::string& line : pairs)
      compare(round ? damaged(line, rng) : line, static_cast<PreferencePair*>(nullptr), pair_from);
    for (const std::string& line : prompts)
      compare(round ? damaged(line, rng) : line, static_cast<Prompt*>(nullptr), prompt_from);
    for (const std::string& line : images)
      compare(round ? damaged(line, rng) : line, static_cast<ImagePreference*>(nullptr),
              image_preference_from);
  }
  CHECK(quick > 80);
  CHECK(refused > 200);
}

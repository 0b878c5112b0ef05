// SPDX-License-Identifier: Apache-2.0
// The probe of `dt2it doctor`, on heads that were really fitted to the one or the other hidden state.
#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/zeros.h>
#include <simdjson.h>

#include <catch2/catch.hpp>
#include <fstream>

#include "core/data/records.hpp"
#include "core/media/media_store.hpp"
#include "core/nn/reward_head.hpp"
#include "core/nn/safetensors.hpp"
#include "dt2it/rng.hpp"
#include "dt2it/testing/fakes.hpp"
#include "tests/cli/process.hpp"
#include "tests/plugins/trainers/tiny_models.hpp"

using namespace dt2it;
using namespace dt2it::testing;
namespace fs = std::filesystem;

namespace {

// Answers of which the better one ends well: what a head can learn from any last hidden state.
struct Answers {
  std::string question, better, worse;
};

std::vector<Answers> answers(std::size_t count, std::uint64_t seed) {
  const std::vector<std::string> things{"ring", "disc", "square", "star", "line"},
      colours{"red", "blue", "green", "grey"};
  Rng rng(seed);
  const auto pick = [&](const auto& list) {
    return list[static_cast<std::size_t>(rng.integer(0, static_cast<int>(list.size()) - 1))];
  };
  std::vector<Answers> all;
  for (std::size_t i = 0; i < count; ++i) {
    const std::string thing = pick(things);
    all.push_back({"Which colour does the " + thing + " have?",
                   "The " + thing + " is " + pick(colours) + ". yes.",
                   "The " + pick(things) + " is " + pick(colours) + ". no no"});
  }
  return all;
}

// The states that the head reads of both answers: [2 count][hidden].
std::vector<std::vector<double>> states_of(Backbone& backbone, const std::vector<Answers>& all,
                                           HiddenState state) {
  std::vector<std::vector<double>> states;
  const at::NoGradGuard no_grad;
  for (const Answers& one : all) {
    const Prompt prompt = sample_prompt("p", one.question);
    const std::array<std::string_view, 2> texts{one.better, one.worse};
    const EncodedTree encoded = backbone.encode(prompt, texts);
    REQUIRE(encoded.status == Status::ok);
    const TokenTree* tree = &encoded.tree;
    const std::vector<std::int64_t> rows{static_cast<std::int64_t>(tree->branch_ends[0]) - 1,
                                         static_cast<std::int64_t>(tree->branch_ends[1]) - 1};
    const at::Tensor hidden =
        backbone.forward({&tree, 1}, state, rows).to(at::kDouble).contiguous();
    for (std::int64_t k = 0; k < 2; ++k) {
      const double* row = hidden.data_ptr<double>() + k * hidden.size(1);
      states.emplace_back(row, row + hidden.size(1));
    }
  }
  return states;
}

// Solves A x = b, A symmetric and positive.
std::vector<double> solve(std::vector<std::vector<double>> a, std::vector<double> b) {
  const std::size_t n = b.size();
  for (std::size_t k = 0; k < n; ++k)
    for (std::size_t i = k + 1; i < n; ++i) {
      const double factor = a[i][k] / a[k][k];
      for (std::size_t j = k; j < n; ++j) a[i][j] -= factor * a[k][j];
      b[i] -= factor * b[k];
    }
  for (std::size_t k = n; k-- > 0;) {
    for (std::size_t j = k + 1; j < n; ++j) b[k] -= a[k][j] * b[j];
    b[k] /= a[k][k];
  }
  return b;
}

// A head by which the better answer is ahead by two: ridge regression on the differences.
nn::RewardHead fitted_head(const std::vector<std::vector<double>>& states) {
  const std::size_t n = states.size() / 2, width = states[0].size();
  std::vector<std::vector<double>> differences(n, std::vector<double>(width)),
      gram(n, std::vector<double>(n));
  double trace = 0;
  for (std::size_t i = 0; i < n; ++i)
    for (std::size_t j = 0; j < width; ++j)
      differences[i][j] = states[2 * i][j] - states[2 * i + 1][j];
  for (std::size_t i = 0; i < n; ++i)
    for (std::size_t k = 0; k < n; ++k) {
      for (std::size_t j = 0; j < width; ++j) gram[i][k] += differences[i][j] * differences[k][j];
      if (i == k) trace += gram[i][i];
    }
  for (std::size_t i = 0; i < n; ++i) gram[i][i] += 1e-3 * trace / static_cast<double>(n);
  const std::vector<double> dual = solve(gram, std::vector<double>(n, 2.0));
  nn::RewardHead head{at::zeros({1, static_cast<std::int64_t>(width)}, at::kFloat),
                      at::zeros({1}, at::kFloat)};
  auto* weight = head.weight.data_ptr<float>();
  for (std::size_t j = 0; j < width; ++j) {
    double sum = 0;
    for (std::size_t i = 0; i < n; ++i) sum += dual[i] * differences[i][j];
    weight[j] = static_cast<float>(sum);
  }
  return head;
}

// The checkpoint with its residual stream `factor` times as large: the same states after the norm.
fs::path scaled(const fs::path& from, const fs::path& to, double factor) {
  fs::copy(from, to);
  const nn::SafetensorsFile stored(from / "model.safetensors");
  std::vector<std::pair<std::string, at::Tensor>> tensors;
  for (const std::string& name : stored.names()) {
    at::Tensor tensor = stored.load(name).clone();
    const bool writes = name.ends_with("embed_tokens.weight") || name.ends_with("o_proj.weight") ||
                        name.ends_with("down_proj.weight");
    if (writes && name.find("visual") == std::string::npos) tensor.mul_(factor);
    tensors.emplace_back(name, std::move(tensor));
  }
  fs::remove(to / "model.safetensors");
  nn::write_safetensors(to / "model.safetensors", tensors);
  return to;
}

fs::path pair_file(FakeContext& context, const std::vector<Answers>& all) {
  const fs::path file = context.scratch() / "pairs.jsonl";
  std::ofstream out(file);
  for (const Answers& one : all)
    out << R"({"prompt":")" << one.question << R"(","chosen":")" << one.better
        << R"(","rejected":")" << one.worse << "\"}\n";
  return file;
}

// The checkpoint with a head that was not trained.
fs::path with_head(const fs::path& to) {
  fs::copy(tiny_checkpoint(), to);
  const nn::SafetensorsFile weights(to / "model.safetensors");
  nn::RewardHead head;
  head.weight = weights.load("model.language_model.embed_tokens.weight")
                    .slice(0, 20, 21)
                    .to(at::kFloat)
                    .contiguous();
  head.bias = at::zeros({1}, at::kFloat);
  head.save(to);
  return to;
}

struct Diagnosis {
  std::string head_input;
  bool sure;
  double order, spread;
  double right[2];
};

Diagnosis diagnose(const fs::path& folder, const fs::path& pairs) {
  const Finished run = ::dt2it::dt2it(
      {"doctor", folder.string(), "--pairs", pairs.string(), "--threads", "1", "--json"});
  INFO(run.err);
  REQUIRE(run.code == 0);
  simdjson::dom::parser parser;
  const simdjson::dom::element probe = parser.parse(run.out)["probe"];
  Diagnosis result{std::string(std::string_view(probe["head_input"])),
                   bool(probe["sure"]),
                   double(probe["order"]),
                   double(probe["spread"]),
                   {}};
  for (int i = 0; i < 2; ++i) {
    const simdjson::dom::element reading = probe[i == 0 ? "final_norm" : "before_norm"];
    result.right[i] = double(reading["correct"]) / double(reading["pairs"]);
  }
  return result;
}

}  // namespace

TEST_CASE("dt2it doctor tells which hidden state a head was fitted to") {
  static const PluginLibrary plugin("backbones/qwen3_vl");
  for (const double factor : {1.0, 40.0}) {
    FakeContext context;
    const fs::path folder = scaled(tiny_checkpoint(), context.scratch() / "scaled", factor);
    fs::remove(folder / "training.json");
    // Who made it would be a hint: here the head alone has to tell.
    std::string config = read_file(folder / "config.json");
    if (const auto at = config.find("transformers_version"); at != std::string::npos)
      config.replace(at, 20, "transformers_nothing");
    write_file_atomically(folder / "config.json", config);
    const auto backbone =
        plugin.make<Backbone>("qwen3_vl", {{"checkpoint", value_of(folder.string())}}, context);
    const fs::path held_out = pair_file(context, answers(40, 2));
    for (const HiddenState state : {HiddenState::normed, HiddenState::unnormed}) {
      const std::string truth = state == HiddenState::normed ? "final_norm" : "before_norm";
      const std::string other = state == HiddenState::normed ? "before_norm" : "final_norm";
      fitted_head(states_of(*backbone, answers(60, 1), state)).save(folder);
      const Diagnosis diagnosis = diagnose(folder, held_out);
      INFO("fitted to " << truth << ", residual stream times " << factor << ": "
                        << diagnosis.head_input);
      CHECK(diagnosis.right[state == HiddenState::normed ? 0 : 1] > 0.9);
      CHECK(diagnosis.head_input != other);
      CHECK((diagnosis.head_input == truth || std::abs(diagnosis.order) < 1.4));
      if (factor > 1) CHECK(diagnosis.spread * (state == HiddenState::normed ? 1 : -1) > 3);
    }
  }
}

TEST_CASE("dt2it doctor says what a folder is, and what is missing") {
  FakeContext context;
  const Finished none = ::dt2it::dt2it({"doctor", tiny_checkpoint().string()});
  CHECK(none.code == 0);
  CHECK_THAT(none.out, Catch::Contains("qwen3_vl") && Catch::Contains("head         none") &&
                           Catch::Contains("no reward head") && !Catch::Contains("head_input: "));
  const Finished nowhere = ::dt2it::dt2it({"doctor", (context.scratch() / "nowhere").string()});
  CHECK(nowhere.code == 5);
  CHECK_THAT(nowhere.err, Catch::Contains("no such folder"));
  CHECK_THAT(::dt2it::dt2it({"doctor"}).out,
             Catch::Contains("LibTorch"));  // without a folder: of the installation

  const fs::path folder = with_head(context.scratch() / "headed");
  const Finished built_in = ::dt2it::dt2it({"doctor", folder.string(), "--threads", "1"});
  INFO(built_in.err);
  CHECK(built_in.code == 0);
  CHECK_THAT(built_in.out, Catch::Contains("value_head.safetensors") &&
                               Catch::Contains("built in") && Catch::Contains("final_norm") &&
                               Catch::Contains("before_norm") && Catch::Contains("head_input: "));
  CHECK_THAT(built_in.out, Catch::Contains("give 30 or more by --pairs"));
  const auto facts = [&] { return ::dt2it::dt2it({"doctor", folder.string(), "--no-probe"}).out; };
  CHECK_THAT(facts(), !Catch::Contains("built in"));
  // As transformers 5 saves it, and without an image processor.
  fs::rename(folder / "preprocessor_config.json", folder / "kept");
  CHECK_THAT(facts(), Catch::Contains("preprocessor_config.json is not there"));
  std::ofstream(folder / "processor_config.json")
      << "{\"image_processor\": " << nn::read_text_file(folder / "kept") << "}";
  CHECK_THAT(facts(), !Catch::Contains("is not there") &&
                          Catch::Contains("tokenizer.json, processor_config.json"));
}

TEST_CASE("dt2it doctor goes by training.json where that says which hidden state the head reads") {
  FakeContext context;
  const fs::path folder = with_head(context.scratch() / "headed");
  const fs::path pairs = pair_file(context, answers(3, 2));
  for (const std::string input : {"final_norm", "before_norm"}) {
    std::ofstream(folder / "training.json") << R"({"head_input":")" << input << "\"}";
    const Finished run =
        ::dt2it::dt2it({"doctor", folder.string(), "--pairs", pairs.string(), "--threads", "1"});
    INFO(run.err << run.out);
    CHECK(run.code == 0);
    CHECK_THAT(run.out, Catch::EndsWith("head_input: " + input + ", as training.json says\n"));
    CHECK_THAT(run.out, !Catch::Contains("likely"));
    const Diagnosis diagnosis = diagnose(folder, pairs);
    CHECK(diagnosis.head_input == input);
    CHECK(diagnosis.sure);
  }
  fs::remove(folder / "training.json");
  const Finished run =
      ::dt2it::dt2it({"doctor", folder.string(), "--pairs", pairs.string(), "--threads", "1"});
  CHECK_THAT(run.out, Catch::Contains("too few pairs to tell: 3; give 30 or more by --pairs"));
  CHECK_THAT(run.out, !Catch::Contains("very likely"));
}

TEST_CASE("dt2it doctor finds media that pairs name by id, and fails where no pair can be used") {
  FakeContext context;
  const fs::path folder = with_head(context.scratch() / "headed");
  const fs::path elsewhere = context.scratch() / "elsewhere", store = elsewhere / "runs/.media";
  fs::create_directories(elsewhere);
  const Media picture = FileMediaStore(store, [] {
                          return nullptr;
                        }).put(testing::detail::plain_png(sample_image(56, 56)), "");
  const fs::path pairs = context.scratch() / "own.jsonl";
  for (int i = 0; i < 2; ++i) {
    PreferencePair pair;
    pair.id = std::to_string(i);
    pair.prompt = sample_prompt(pair.id, "What is this?", {picture});
    pair.chosen.text = "A square.";
    pair.rejected.text = "no no";
    std::ofstream(pairs, std::ios::app) << to_json(pair) << '\n';
  }
  const Words words{"doctor", folder.string(), "--pairs", pairs.string(), "--threads", "1"};
  Words given = words;
  given.insert(given.end(), {"--media-store", store.string()});
  const Finished found = ::dt2it::dt2it(given);
  INFO(found.err);
  CHECK(found.code == 0);
  CHECK_THAT(found.out, Catch::Contains("The head on 2 pairs") && !Catch::Contains("no rewards"));
  // Where they are looked for without it: runs/.media.
  const Finished beside = Process(dt2it_words(words), {}, elsewhere).wait();
  INFO(beside.err);
  CHECK(beside.code == 0);
  CHECK(beside.out == found.out);

  given.back() = (context.scratch() / "nowhere").string();
  const Finished none = ::dt2it::dt2it(given);
  INFO(none.out << none.err);
  CHECK(none.code == 4);
  CHECK_THAT(none.err, Catch::Contains("own.jsonl: no pair has rewards (2 missing_media)") &&
                           Catch::Contains("nowhere (--media-store DIR), which is not there"));
  CHECK_THAT(none.out, !Catch::Contains("head_input: "));

  // One pair that can be used among others that cannot.
  std::ofstream(pairs, std::ios::app)
      << R"({"prompt":"Really?","chosen":"Yes.","rejected":"no"})" << '\n';
  const Finished one = ::dt2it::dt2it(given);
  CHECK(one.code == 0);
  CHECK_THAT(one.out, Catch::Contains("The head on 1 pairs") &&
                          Catch::Contains("2 more have no rewards (2 missing_media)"));
}

TEST_CASE("dt2it doctor shows paths without detours") {
  const auto library = [](const std::string& out) {
    const auto line = out.substr(out.find("LibTorch"),
                                 out.find('\n', out.find("LibTorch")) - out.find("LibTorch"));
    return fs::path(line.substr(line.find('/')));
  };
  const fs::path plain = library(::dt2it::dt2it({"doctor"}).out);
  REQUIRE(plain.filename() == "libtorch_cpu.so");
  const fs::path folder = plain.parent_path();
  const Finished run =
      ::dt2it::dt2it({"doctor", "--plugin-path", build_path("/bin/../lib/dt2it/plugins")},
                     {{"LD_LIBRARY_PATH", (folder / ".." / folder.filename()).string()}});
  CHECK(library(run.out) == plain);
  CHECK_THAT(run.out, !Catch::Contains("/../"));
}

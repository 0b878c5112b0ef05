// SPDX-License-Identifier: Apache-2.0
// Our side of the benchmark `data`, see tests/bench/README.md. Every mode prints processor seconds,
// seconds, a number to compare, and megabytes of resident memory at the peak (lookups: bytes an
// image).
//   bench_data parse PAIRS.jsonl             pairs into records
//   bench_data rows FOLDER WORK              prompts of Parquet files, their images' bytes handed
//   out bench_data parquet FOLDER WORK           the same, and the images into a media store in
//   WORK bench_data clean FOLDER WORK             prompts of FOLDER/train.jsonl against those of
//                                            FOLDER/bench.jsonl; one thread
//   bench_data lookups IMAGES COUNT          look-ups by perceptual hash in an index of random
//   images; every second asks
//                                            for one of them with 8 bits changed, and has to find
//                                            it
//   bench_data pairs PROMPTS CANDIDATES WORK stage pair on invented candidate sets with two scorers
#include <fmt/format.h>
#include <sys/resource.h>

#include <atomic>
#include <bit>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <iostream>
#include <optional>
#include <string_view>
#include <vector>

#include "core/data/records.hpp"
#include "core/run/runner.hpp"
#include "core/run/scope.hpp"
#include "core/stages/candidate_set.hpp"
#include "core/stages/stages.hpp"
#include "dt2it/curator.hpp"
#include "dt2it/dataset.hpp"
#include "plugins/curators/decontaminate/image_index.hpp"

namespace {

using namespace dt2it;
namespace fs = std::filesystem;

class Measured {
 public:
  void end() {
    cpu_ = static_cast<double>(std::clock() - clock_) / CLOCKS_PER_SEC;
    wall_ = std::chrono::steady_clock::now() - begin_;
  }
  void report(std::size_t number, std::optional<double> more = {}) const {
    rusage usage{};
    ::getrusage(RUSAGE_SELF, &usage);
    fmt::print("{:.6f} {:.6f} {} {:.1f}\n", cpu_, wall_.count(), number,
               more.value_or(static_cast<double>(usage.ru_maxrss) / 1024));
  }

 private:
  const std::clock_t clock_ = std::clock();
  const std::chrono::steady_clock::time_point begin_ = std::chrono::steady_clock::now();
  double cpu_ = 0;
  std::chrono::duration<double> wall_{};
};

void parse(const fs::path& file) {
  Measured measured;
  PairReader reader(file);
  std::size_t count = 0;
  for (PreferencePair pair; reader.next(pair);) count += !pair.chosen.text.empty();
  measured.end();
  measured.report(count);
}

struct Host {
  explicit Host(const fs::path& work)
      : registry(PluginRegistry::default_search_path({})),
        media(registry, work / "media"),
        work(work) {}
  StageScope scope(std::vector<ComponentConfig> components, MediaStore* store = nullptr) {
    return StageScope(registry, std::move(components), store ? *store : media.store(), 0, work,
                      [](LogLevel, std::string_view) {});
  }
  PluginRegistry registry;
  HostMedia media;
  fs::path work;
};

ComponentConfig component(const char* kind, const char* name, const char* type, Table params) {
  return {kind, name, type, std::move(params), {}, {}};
}

// Is handed an image's bytes and keeps nothing, as the peers do.
class Handed final : public MediaStore {
 public:
  Media put(std::span<const std::uint8_t> bytes, std::string_view) override {
    Media media;
    if (!bytes.empty()) media.id = std::string(64, 'a');
    return media;
  }
  Media put_file(const fs::path&, std::string_view) override { return {}; }
  Bytes bytes(const Media&) override { return {}; }
  DecodedImage decode(const Media&) override { return {}; }
  DecodedVideo decode_video(const Media&, const VideoReading&) override { return {}; }
  Media put_image(const Image&, std::string_view) override { return {}; }
};

void parquet(const fs::path& folder, const fs::path& work, bool stored) {
  Host host(work);
  Handed handed;
  auto scope = host.scope({component("datasets", "it", "prompts", {{"file", {folder.string()}}})},
                          stored ? nullptr : &handed);
  const auto dataset = scope.context().component<Dataset>("it");
  Measured measured;
  const auto stream = dataset->prompts();
  std::size_t images = 0;
  for (Prompt prompt; stream->next(prompt);)
    for (const Part& part : prompt.messages.at(0).content)
      images += part.kind == Part::Kind::image && part.media.present();
  measured.end();
  measured.report(images);
}

void clean(const fs::path& folder, const fs::path& work) {
  Host host(work);
  auto scope = host.scope(
      {component("datasets", "train", "prompts", {{"file", {(folder / "train.jsonl").string()}}}),
       component("datasets", "bench", "prompts", {{"file", {(folder / "bench.jsonl").string()}}}),
       component("curators", "it", "decontaminate",
                 {{"datasets", {List{{std::string("bench")}}}}, {"threads", {std::int64_t{1}}}})});
  const auto curator = scope.context().component<Curator>("it");
  std::vector<PreferencePair> pairs;
  const auto stream = scope.context().component<Dataset>("train")->prompts();
  for (PreferencePair pair; stream->next(pair.prompt);) pairs.push_back(pair);
  static_cast<void>(curator->review(std::span(pairs).first(1)));  // reads the benchmark
  Measured measured;
  std::size_t discarded = 0;
  for (const Decision& decision : curator->review(pairs))
    discarded += decision.action == Decision::Action::discard;
  measured.end();
  measured.report(discarded);
}

void lookups(std::size_t images, std::size_t count) {
  Rng rng(1);
  ImageIndex index;
  std::vector<std::uint64_t> hashes;
  for (std::size_t i = 0; i < images; ++i) {
    hashes.push_back(rng.next());
    index.add(rng.next(), hashes.back());
  }
  index.build();
  struct Asked {
    std::uint64_t hash;
    std::size_t image;  // `images`: any
  };
  std::vector<Asked> asked;
  for (std::size_t i = 0; i < count; ++i) {
    Asked one{rng.next(), images};
    if (i % 2 == 0) {
      one.image = rng.below(images);
      one.hash = hashes[one.image];
      for (const std::size_t bit : rng.permutation(64)) {
        if (std::popcount(one.hash ^ hashes[one.image]) == 8) break;
        one.hash ^= std::uint64_t{1} << bit;
      }
    }
    asked.push_back(one);
  }
  Measured measured;
  std::size_t found = 0;
  for (const Asked& one : asked)
    for (const ImageIndex::Hit& hit : index.find(rng.next(), one.hash, 8))
      found += hit.image == one.image;
  measured.end();
  measured.report(found, static_cast<double>(index.bytes()) / static_cast<double>(images));
}

struct GivenParams {
  fs::path file;
  static void describe(Schema<GivenParams>& schema) {
    schema.field("file", &GivenParams::file, "File to give.").required();
  }
};

void pairs(std::size_t prompts, std::size_t candidates, const fs::path& work) {
  const fs::path file = work / "candidates.jsonl";
  {
    LineWriter out(file);
    Rng rng(3);
    const std::string words =
        "The picture shows two people beside a red bicycle near the old station; the sign above "
        "them reads 42. ";
    for (std::size_t row = 0; row < prompts; ++row) {
      CandidateSet set;
      set.prompt.id = fmt::format("prompt-{}", row);
      Media image{Media::Kind::image, std::string(64, 'a'), "image/jpeg", 640, 480, "x.jpg", {}};
      set.prompt.messages = {
          {Message::Role::user,
           {Part::of_image(image), Part::of_text("What is going on in this picture?")}}};
      for (std::size_t k = 0; k < candidates; ++k) {
        Response response;
        response.id = fmt::format("{}", k);
        for (int i = rng.integer(2, 6); i-- > 0;) response.text += words;
        response.mllm = "model";
        response.origin = "sampled";
        set.candidates.push_back(std::move(response));
      }
      for (const char* scorer : {"listwise", "pointwise"})
        for (std::size_t k = 0; k < candidates; ++k) {
          Score score;
          score.status = Status::ok;
          score.overall = rng.integer(0, 40) / 4.0;
          for (const char* name : {"Accuracy", "Helpfulness", "Completeness", "Language Quality",
                                   "Creativity", "Ethics"})
            score.criteria.push_back({name, 1.0 / 6, score.overall, "A sentence on why it is so."});
          set.scores[scorer].push_back(std::move(score));
        }
      out.write(to_line(set));
    }
    out.close();
  }
  std::fprintf(stderr, "%.0f MB of candidates\n", static_cast<double>(fs::file_size(file)) / 1e6);
  StageTypes types = all_stages();
  types.emplace("given", make_stage<GivenParams>("given", "For the benchmark.", "1",
                                                 [](const GivenParams& params, StageRun& stage) {
                                                   fs::create_symlink(
                                                       params.file,
                                                       stage.output / params.file.filename());
                                                 }));
  PluginRegistry registry(PluginRegistry::default_search_path({}));
  for (const auto& [name, type] : types) registry.add_builtin(type.description);
  std::FILE* toml = std::fopen((work / "pairs.toml").c_str(), "w");
  std::fprintf(toml,
               "[scorers.listwise]\ntype = \"listwise\"\njudge = "
               "\"none\"\n[scorers.pointwise]\ntype = \"pointwise\"\njudge = \"none\"\n"
               "[judges.none]\ntype = \"rubric\"\nmllm = \"none\"\n[mllms.none]\ntype = "
               "\"replay\"\nfile = \"candidates.jsonl\"\n"
               "[stages.given]\nfile = \"candidates.jsonl\"\n[stages.pair]\ncandidates = "
               "\"given\"\nscorers = [\"listwise\", \"pointwise\"]\n");
  std::fclose(toml);
  Diagnostics diagnostics;
  LoadOptions options;
  options.profile = "";
  Experiment experiment = load_experiment(work / "pairs.toml", options, registry, diagnostics);
  if (!diagnostics.ok()) {
    std::cerr << diagnostics.text();
    std::exit(1);
  }
  RunOptions run;
  run.runs = work / "runs";
  run.quiet = true;
  Runner runner(registry, types, run);
  const StageGraph& graph = runner.add(std::move(experiment));
  const std::atomic<bool> stop{false};
  Measured measured;
  runner.run(stop);
  measured.end();
  LineReader lines(runner.store().finished(graph.find("pair")->folder()) / "pairs.jsonl");
  std::size_t count = 0;
  for (std::string_view line; lines.next(line);) ++count;
  measured.report(count);
}

}  // namespace

int main(int argc, char** argv) {
  const std::string_view mode = argc > 1 ? argv[1] : "";
  const auto number = [&](int i) {
    return static_cast<std::size_t>(std::strtoull(argv[i], nullptr, 10));
  };
  if (mode == "parse" && argc == 3) return parse(argv[2]), 0;
  if ((mode == "parquet" || mode == "rows") && argc == 4)
    return parquet(argv[2], argv[3], mode == "parquet"), 0;
  if (mode == "clean" && argc == 4) return clean(argv[2], argv[3]), 0;
  if (mode == "lookups" && argc == 4) return lookups(number(2), number(3)), 0;
  if (mode == "pairs" && argc == 5) return pairs(number(2), number(3), argv[4]), 0;
  std::fprintf(stderr,
               "usage: bench_data parse FILE | rows FOLDER WORK | parquet FOLDER WORK | clean "
               "FOLDER WORK | lookups "
               "IMAGES COUNT | pairs PROMPTS CANDIDATES WORK\n");
  return 2;
}

// SPDX-License-Identifier: Apache-2.0
// Our side of the benchmark `jsonl`, see tests/bench/README.md. Every mode but `make` prints the seconds it took.
//   bench_jsonl make FILE COUNT    invented preference pairs, the same bytes every time
//   bench_jsonl rewrite IN OUT     records in, records out
//   bench_jsonl copy IN OUT        bytes in, bytes out: the ceiling
#include <fmt/format.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>

#include "core/data/records.hpp"
#include "core/util/jsonl.hpp"
#include "dt2it/rng.hpp"

namespace {

using namespace dt2it;

// Words with what real answers have: quotes, line breaks, accents, CJK, an emoji.
std::string invented_text(Rng& rng, int words) {
  static constexpr std::string_view kWords[] = {
      "the",    "picture",   "shows",        "a",         "red",       "bicycle", "beside",
      "two",    "people",    "who",          "look",      "at",        "\"map\"", "near",
      "the\n",  "caf\u00e9", "\u56fe\u50cf", "42",        "\\[x^2\\]", "because", "its",
      "shadow", "falls",     "left",         "\U0001F642"};
  std::string text;
  for (int i = 0; i < words; ++i) {
    if (i) text += ' ';
    text += kWords[rng.below(std::size(kWords))];
  }
  return text;
}

std::string invented_id(Rng& rng) {
  return fmt::format("{:016x}{:016x}{:016x}{:016x}", rng.next(), rng.next(), rng.next(),
                     rng.next());
}

PreferencePair invented_pair(std::size_t row) {
  Rng rng(stable_hash("pair", row));
  PreferencePair pair;
  pair.id = fmt::format("{}/{}-{}", row, rng.below(8), rng.below(8));
  pair.prompt.id = fmt::format("prompt-{:06}", row);
  Media image{Media::Kind::image,
              invented_id(rng),
              "image/jpeg",
              rng.integer(200, 1600),
              rng.integer(200, 1600),
              fmt::format("images/{:06}.jpg", row),
              {}};
  pair.prompt.messages.push_back(
      {Message::Role::user, {Part::of_image(image), Part::of_text(invented_text(rng, 20))}});
  pair.prompt.reference = invented_text(rng, 15);
  pair.prompt.source = "invented";
  pair.prompt.domain = "visual_understanding";
  const auto response = [&](const char* id) {
    Response made;
    made.id = id;
    made.text = invented_text(rng, rng.integer(20, 120));
    made.mllm = "model_a";
    made.origin = "sampled";
    made.finish_reason = "stop";
    return made;
  };
  pair.chosen = response("0");
  pair.rejected = response("1");
  pair.source = "invented";
  pair.strengths = {rng.normal(), rng.normal(), rng.normal()};
  pair.strength = (pair.strengths[0] + pair.strengths[1] + pair.strengths[2]) / 3;
  pair.extra = fmt::format(R"({{"scores":{{"listwise":[{},{}]}},"votes":{}}})", rng.uniform(0, 10),
                           rng.uniform(0, 10), rng.integer(0, 6));
  return pair;
}

void make(const char* file, std::size_t count) {
  LineWriter out(file);
  for (std::size_t row = 0; row < count; ++row) out.write(to_json(invented_pair(row)));
  out.close();
}

void rewrite(const char* in, const char* out_file) {
  PairReader reader{in};
  LineWriter out(out_file);
  for (PreferencePair pair; reader.next(pair);) out.write(to_json(pair));
  out.close();
}

void copy(const char* in, const char* out_file) {
  LineWriter out(out_file);
  LineReader lines(in);
  for (std::string_view line; lines.next(line);) out.write(line);
  out.close();
}

}  // namespace

int main(int argc, char** argv) {
  const std::string_view mode = argc == 4 ? argv[1] : "";
  const auto begin = std::chrono::steady_clock::now();
  if (mode == "make") {
    make(argv[2], std::strtoull(argv[3], nullptr, 10));
    return 0;
  }
  if (mode == "rewrite") {
    rewrite(argv[2], argv[3]);
  } else if (mode == "copy") {
    copy(argv[2], argv[3]);
  } else {
    std::fprintf(stderr, "usage: bench_jsonl make FILE COUNT | rewrite IN OUT | copy IN OUT\n");
    return 2;
  }
  std::printf("%.6f\n",
              std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count());
}

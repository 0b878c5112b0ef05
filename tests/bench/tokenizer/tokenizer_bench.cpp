// SPDX-License-Identifier: Apache-2.0
// Our side of the benchmark and of the fuzzing of the tokenizer; bench.py and fuzz.py drive it.
//   bench_tokenizer encode TOKENIZER TEXTS IDS       ids of every text
//   bench_tokenizer decode TOKENIZER IDS TEXTS SKIP  texts of every list of ids; SKIP 1: without
//   special tokens bench_tokenizer normalise nfc|lower TEXTS TEXTS bench_tokenizer classes OUT one
//   byte a code point, see core/nn/unicode_classes.hpp bench_tokenizer serve TOKENIZER TEXTS a
//   command a line, the seconds it took a line:
//                                                    encode (all texts), split (into words only),
//                                                    load
// TEXTS and IDS: a 32-bit length, then bytes or 32-bit ids, over and over, little endian.
#include <fmt/format.h>

#include <chrono>
#include <cstdint>
#include <cstring>
#include <exception>
#include <iostream>
#include <string>
#include <string_view>
#include <vector>

#include "core/nn/normalizer.hpp"
#include "core/nn/pre_tokenizer.hpp"
#include "core/nn/text_file.hpp"
#include "core/nn/tokenizer.hpp"

namespace {

using namespace dt2it::nn;

// Visits every block of a file whose units have `unit` bytes.
template <class Visit>
void blocks(const std::string& file, std::size_t unit, Visit visit) {
  const std::string bytes = read_text_file(file);
  for (std::size_t at = 0; at + 4 <= bytes.size();) {
    std::uint32_t length = 0;
    std::memcpy(&length, bytes.data() + at, 4);
    visit(std::string_view(bytes).substr(at + 4, length * unit));
    at += 4 + length * unit;
  }
}

void put(std::string& out, std::uint32_t value) {
  out.append(reinterpret_cast<const char*>(&value), 4);
}

void put_text(std::string& out, std::string_view text) {
  put(out, static_cast<std::uint32_t>(text.size()));
  out += text;
}

template <class Work>
double seconds(Work work) {
  const auto start = std::chrono::steady_clock::now();
  work();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

void serve(const std::string& file, const std::string& texts_file) {
  const Tokenizer tokenizer(file);
  const Splitter splitter(kQwenPattern, true);
  std::vector<std::string> texts;
  blocks(texts_file, 1, [&](std::string_view text) { texts.emplace_back(text); });
  std::size_t sum = 0;  // so that no result is unused
  for (std::string command; std::getline(std::cin, command);) {
    double took = 0;
    if (command == "load")
      took = seconds([&] { sum += static_cast<std::size_t>(Tokenizer(file).size()); });
    else if (command == "split")
      took = seconds([&] {
        for (const std::string& text : texts)
          splitter.split(text, [&](std::string_view word) { sum += word.size(); });
      });
    else
      took = seconds([&] {
        for (const std::string& text : texts) sum += tokenizer.encode(text).size();
      });
    std::cout << fmt::format("{} {}\n", took, sum) << std::flush;
  }
}

int run(const std::vector<std::string>& args) {
  const auto is = [&](std::string_view mode, std::size_t count) {
    return args.size() == count && args[0] == mode;
  };
  std::string out;
  if (is("encode", 4)) {
    const Tokenizer tokenizer(args[1]);
    blocks(args[2], 1, [&](std::string_view text) {
      const auto ids = tokenizer.encode(text);
      put(out, static_cast<std::uint32_t>(ids.size()));
      for (const std::int64_t id : ids) put(out, static_cast<std::uint32_t>(id));
    });
    write_text_file(args[3], out);
  } else if (is("decode", 5)) {
    const Tokenizer tokenizer(args[1]);
    blocks(args[2], 4, [&](std::string_view bytes) {
      std::vector<std::int64_t> ids;
      for (std::size_t at = 0; at < bytes.size(); at += 4) {
        std::uint32_t id = 0;
        std::memcpy(&id, bytes.data() + at, 4);
        ids.push_back(id);
      }
      put_text(out, tokenizer.decode(ids, args[4] == "1"));
    });
    write_text_file(args[3], out);
  } else if (is("normalise", 4)) {
    const Normalizer normalizer{
        args[1] == "nfc" ? Normalizer::Type::compose : Normalizer::Type::lower, {}, {}};
    std::string buffer;
    blocks(args[2], 1,
           [&](std::string_view text) { put_text(out, normalizer.apply(text, buffer)); });
    write_text_file(args[3], out);
  } else if (is("classes", 2)) {
    write_text_file(args[1], {reinterpret_cast<const char*>(unicode_classes()), 0x110000});
  } else if (is("serve", 3)) {
    serve(args[1], args[2]);
  } else {
    std::cerr << "see the head of tokenizer_bench.cpp\n";
    return 2;
  }
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return run({argv + 1, argv + argc});
  } catch (const std::exception& error) {
    std::cerr << error.what() << "\n";
    return 1;
  }
}

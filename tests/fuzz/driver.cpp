// SPDX-License-Identifier: Apache-2.0
// Drives LLVMFuzzerTestOneInput where libFuzzer is not there: the seeds as they are, then deterministic mutations of them.
//   fuzz_NAME [--runs N] [--seconds S] [--seed K] CORPUS_FOLDER | FILE...
// An input that crashes, hangs (10 s) or throws what the target did not expect is left in crash-NAME in the working folder.
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "dt2it/rng.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);
// Of the sanitizers, when they are there.
extern "C" void __sanitizer_set_death_callback(void (*)()) __attribute__((weak));

namespace {

namespace fs = std::filesystem;

std::string current;     // the input at work
std::string crash_file;  // as C text for a signal handler

void keep_input() {
  static bool kept = false;
  if (kept) return;
  kept = true;
  if (std::FILE* file = std::fopen(crash_file.c_str(), "wb")) {
    std::fwrite(current.data(), 1, current.size(), file);
    std::fclose(file);
    std::fprintf(stderr, "\nthe input of %zu bytes is in %s\n", current.size(), crash_file.c_str());
  }
}

void on_signal(int number) {
  std::fprintf(stderr, "\n%s\n",
               number == SIGALRM ? "this takes longer than 10 s" : strsignal(number));
  keep_input();
  signal(number, SIG_DFL);
  raise(number == SIGALRM ? SIGABRT : number);
  _exit(1);
}

void run(const std::string& input) {
  current = input;
  alarm(10);
  try {
    LLVMFuzzerTestOneInput(reinterpret_cast<const std::uint8_t*>(input.data()), input.size());
  } catch (const std::exception& error) {
    std::fprintf(stderr, "\nnot expected: %s\n", error.what());
    keep_input();
    std::_Exit(1);
  }
}

std::string read(const fs::path& file) {
  std::ifstream stream(file, std::ios::binary);
  return {std::istreambuf_iterator<char>(stream), {}};
}

const std::vector<std::string> kTokens{"{",
                                       "}",
                                       "[",
                                       "]",
                                       "\"",
                                       ":",
                                       ",",
                                       "null",
                                       "true",
                                       "-1",
                                       "0",
                                       "1e999",
                                       "18446744073709551615",
                                       "9223372036854775808",
                                       "-9223372036854775809",
                                       "\\u0000",
                                       "\\ud800",
                                       "\\",
                                       "\n",
                                       "\r\n",
                                       "=",
                                       "'''",
                                       "\"\"\"",
                                       std::string(1, '\0'),
                                       "\xff",
                                       "\xed\xa0\x80",
                                       "\xf4\x90\x80\x80",
                                       "[[[[[[[[",
                                       "{\"a\":{\"a\":",
                                       "<",
                                       "#",
                                       "0x",
                                       "nan",
                                       "1."};

std::string mutate(std::string text, const std::vector<std::string>& seeds, dt2it::Rng& rng) {
  for (int left = rng.integer(1, 6); left > 0; --left) {
    const std::size_t at = text.empty() ? 0 : rng.below(text.size());
    const std::size_t length =
        text.empty() ? 0 : 1 + rng.below(std::min<std::size_t>(text.size() - at, 64));
    switch (rng.below(10)) {
      case 0:
        if (!text.empty()) text[at] = static_cast<char>(text[at] ^ (1 << rng.below(8)));
        break;
      case 1:
        if (!text.empty()) text[at] = static_cast<char>(rng.below(256));
        break;
      case 2: text.erase(at, length); break;
      case 3: text.insert(at, text.substr(at, length)); break;
      case 4: text.insert(at, kTokens[rng.below(kTokens.size())]); break;
      case 5: text.replace(at, length, kTokens[rng.below(kTokens.size())]); break;
      case 6: text.resize(at); break;
      case 7: {  // a piece of another seed
        const std::string& other = seeds[rng.below(seeds.size())];
        if (other.empty()) break;
        const std::size_t from = rng.below(other.size());
        text.insert(at, other.substr(from, 1 + rng.below(200)));
        break;
      }
      case 8: {  // a number becomes another
        std::size_t digit = text.find_first_of("0123456789", at);
        if (digit != std::string::npos)
          text.replace(
              digit, 1,
              std::to_string(rng.below(3) ? rng.below(300) : std::uint64_t{1} << rng.below(64)));
        break;
      }
      default: {  // four bytes as a number
        if (text.size() < 8) break;
        const std::uint64_t value = rng.below(2) ? rng.below(1 << 16) : ~rng.below(1 << 16);
        std::memcpy(&text[rng.below(text.size() - 7)], &value, rng.below(2) ? 4 : 8);
        break;
      }
    }
  }
  if (text.size() > 1 << 18) text.resize(1 << 18);
  return text;
}

}  // namespace

int main(int argc, char** argv) {
  std::uint64_t runs = 0, seed = 1;
  double seconds = 0;
  std::vector<std::string> seeds;
  bool files = false;
  for (int i = 1; i < argc; ++i) {
    const std::string word = argv[i];
    if (word == "--runs" && i + 1 < argc)
      runs = std::strtoull(argv[++i], nullptr, 10);
    else if (word == "--seed" && i + 1 < argc)
      seed = std::strtoull(argv[++i], nullptr, 10);
    else if (word == "--seconds" && i + 1 < argc)
      seconds = std::strtod(argv[++i], nullptr);
    else if (fs::is_directory(word)) {
      std::vector<fs::path> found;
      for (const auto& entry : fs::directory_iterator(word))
        if (entry.is_regular_file()) found.push_back(entry.path());
      std::sort(found.begin(), found.end());
      for (const fs::path& file : found) seeds.push_back(read(file));
    } else if (fs::is_regular_file(word)) {
      seeds.push_back(read(word));
      files = true;
    } else {
      std::fprintf(stderr, "%s: no such file or folder\n", argv[i]);
      return 2;
    }
  }
  const std::string name = fs::path(argv[0]).filename().string();
  crash_file = "crash-" + name;
  if (seeds.empty()) {
    std::fprintf(stderr, "%s: no seeds\n", name.c_str());
    return 2;
  }
  for (const int number : {SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT, SIGALRM})
    signal(number, on_signal);
  if (__sanitizer_set_death_callback) __sanitizer_set_death_callback(keep_input);
  for (const std::string& one : seeds) run(one);
  if (files) runs = 0, seconds = 0;
  dt2it::Rng rng(seed);
  const auto begin = std::chrono::steady_clock::now();
  const auto passed = [&] {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  };
  std::uint64_t done = 0;
  for (; runs ? done < runs : passed() < seconds; ++done)
    run(mutate(seeds[rng.below(seeds.size())], seeds, rng));
  alarm(0);
  std::printf("%s: %zu seeds, %llu mutations, %.1f s\n", name.c_str(), seeds.size(),
              static_cast<unsigned long long>(done), passed());
  return 0;
}

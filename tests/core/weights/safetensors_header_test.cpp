// SPDX-License-Identifier: Apache-2.0
#include "core/weights/safetensors_header.hpp"

#include <fmt/format.h>
#include <sys/resource.h>

#include <cstdlib>
#include <functional>

#include "core/weights/weights_file.hpp"
#include "tests/core/weights/checkpoints.hpp"

namespace dt2it {
namespace {

using Catch::Matchers::Contains;
using testing::complaint;

std::string packed(const std::string& header, const std::string& data, std::uint64_t claimed) {
  std::string file(8, '\0');
  for (std::size_t i = 0; i < 8; ++i) file[i] = static_cast<char>(claimed >> (8 * i));
  return file + header + data;
}
std::string packed(const std::string& header, const std::string& data) {
  return packed(header, data, header.size());
}

std::string entry(const std::string& name, const std::string& type, const std::string& shape,
                  const std::string& offsets) {
  return fmt::format(R"("{}":{{"dtype":"{}","shape":{},"data_offsets":{}}})", name, type, shape,
                     offsets);
}

std::string opened(const testing::TemporaryFolder& folder, const std::string& bytes) {
  const auto path = folder.write("file.safetensors", bytes);
  const std::string said = complaint([&] { WeightsFile file(path); });
  if (said != "nothing") CHECK_THAT(said, Contains("file.safetensors: "));
  return said;
}

long peak_kilobytes() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return usage.ru_maxrss;
}

// A good file of three tensors, of which each fault breaks something.
struct Parts {
  std::vector<std::string> entries;
  std::string data;
  std::string header() const {
    std::string text = "{";
    for (const std::string& e : entries) text += (text.size() > 1 ? "," : "") + e;
    return text + "}";
  }
};

Parts good(Rng& rng) {
  Parts parts;
  std::uint64_t at = 0;
  parts.entries.push_back(R"("__metadata__":{"format":"pt"})");
  for (int i = 0; i < 3; ++i) {
    const auto rows = static_cast<std::uint64_t>(rng.integer(1, 9)),
               columns = static_cast<std::uint64_t>(rng.integer(1, 9));
    const std::uint64_t end = at + rows * columns * 4;
    parts.entries.push_back(entry(fmt::format("t{}", i), "F32",
                                  fmt::format("[{},{}]", rows, columns),
                                  fmt::format("[{},{}]", at, end)));
    at = end;
  }
  parts.data.assign(at, 'x');
  return parts;
}

void replace(std::string& text, const std::string& old, const std::string& fresh) {
  const auto at = text.find(old);
  if (at != std::string::npos) text.replace(at, old.size(), fresh);
}

using Fault = std::function<std::string(Parts, Rng&)>;
const std::vector<std::pair<const char*, Fault>>& faults() {
  static const std::vector<std::pair<const char*, Fault>> all = {
      {"cut within the length",
       [](Parts p, Rng& r) { return packed(p.header(), p.data).substr(0, r.below(8)); }},
      {"cut within the header",
       [](Parts p, Rng& r) {
         return packed(p.header(), p.data).substr(0, 8 + r.below(p.header().size()));
       }},
      {"cut within the data",
       [](Parts p, Rng& r) {
         return packed(p.header(), p.data.substr(0, r.below(p.data.size())));
       }},
      {"more data than described",
       [](Parts p, Rng& r) {
         return packed(p.header(), p.data + std::string(1 + r.below(50), 'y'));
       }},
      {"huge header length",
       [](Parts p, Rng& r) {
         return packed(p.header(), p.data, std::uint64_t{1} << (27 + r.below(37)));
       }},
      {"header length shorter",
       [](Parts p, Rng& r) { return packed(p.header(), p.data, r.below(p.header().size())); }},
      {"overlap",
       [](Parts p, Rng&) {
         p.entries[2] = entry("t1", "F32", "[1]", "[0,4]");
         return packed(p.header(), p.data);
       }},
      {"gap",
       [](Parts p, Rng&) {
         p.entries.erase(p.entries.begin() + 2);
         return packed(p.header(), p.data);
       }},
      {"out of range",
       [](Parts p, Rng& r) {
         const std::uint64_t begin = p.data.size() + r.below(1u << 30);
         p.entries[3] = entry("t2", "F32", "[1]", fmt::format("[{},{}]", begin, begin + 4));
         return packed(p.header(), p.data);
       }},
      {"ends before it begins",
       [](Parts p, Rng&) {
         p.entries[1] = entry("t0", "F32", "[1]", "[8,4]");
         return packed(p.header(), p.data);
       }},
      {"huge offsets",
       [](Parts p, Rng&) {
         p.entries[1] = entry("t0", "F32", "[1]", "[18446744073709551612,18446744073709551615]");
         return packed(p.header(), p.data);
       }},
      {"shape overflows to nothing",
       [](Parts p, Rng& r) {
         const std::uint64_t side = std::uint64_t{1} << (32 + r.below(31));
         p.entries[1] = entry("t0", "F32", fmt::format("[{},{}]", side, side), "[0,0]");
         return packed(p.header(), p.data);
       }},
      {"shape of 2^62 values",
       [](Parts p, Rng&) {
         p.entries[1] = entry("t0", "F32", "[4611686018427387904]", "[0,0]");
         return packed(p.header(), p.data);
       }},
      {"shape with a zero and a giant",
       [](Parts p, Rng&) {
         p.entries[1] = entry("t0", "F32", "[0,18446744073709551615]", "[0,0]");
         return packed(p.header(), p.data);
       }},
      {"many dimensions",
       [](Parts p, Rng& r) {
         std::string shape = "[1";
         for (std::size_t i = 0; i < 100 + r.below(5000); ++i) shape += ",1";
         p.entries[1] = entry("t0", "F32", shape + "]", "[0,4]");
         return packed(p.header(), p.data);
       }},
      {"negative extent",
       [](Parts p, Rng& r) {
         p.entries[1] = entry("t0", "F32", fmt::format("[-{}]", 1 + r.below(99)), "[0,4]");
         return packed(p.header(), p.data);
       }},
      {"extent with a fraction",
       [](Parts p, Rng&) {
         p.entries[1] = entry("t0", "F32", "[1.5]", "[0,4]");
         return packed(p.header(), p.data);
       }},
      {"extent as text",
       [](Parts p, Rng&) {
         p.entries[1] = entry("t0", "F32", "[\"2\"]", "[0,8]");
         return packed(p.header(), p.data);
       }},
      {"shape and bytes differ",
       [](Parts p, Rng& r) {
         p.data += std::string(4 * (1 + r.below(9)), 'z');
         p.entries.push_back(
             entry("t3", "F32", "[999]", fmt::format("[{},{}]", p.data.size() - 4, p.data.size())));
         return packed(p.header(), p.data);
       }},
      {"unknown type",
       [](Parts p, Rng& r) {
         p.entries[1] = entry("t0", fmt::format("F{}", 100 + r.below(99)), "[1]", "[0,4]");
         return packed(p.header(), p.data);
       }},
      {"half a byte",
       [](Parts p, Rng&) {
         p.entries[1] = entry("t0", "F4", "[3]", "[0,2]");
         return packed(p.header(), p.data);
       }},
      {"type is a number",
       [](Parts p, Rng&) {
         replace(p.entries[1], "\"F32\"", "32");
         return packed(p.header(), p.data);
       }},
      {"no type",
       [](Parts p, Rng&) {
         replace(p.entries[1], "\"dtype\"", "\"kind\"");
         return packed(p.header(), p.data);
       }},
      {"no offsets",
       [](Parts p, Rng&) {
         replace(p.entries[1], "data_offsets", "offsets");
         return packed(p.header(), p.data);
       }},
      {"three offsets",
       [](Parts p, Rng&) {
         p.entries[1] = entry("t0", "F32", "[1]", "[0,4,8]");
         return packed(p.header(), p.data);
       }},
      {"two types",
       [](Parts p, Rng&) {
         replace(p.entries[1], "\"dtype\"", "\"dtype\":\"F32\",\"dtype\"");
         return packed(p.header(), p.data);
       }},
      {"duplicate name",
       [](Parts p, Rng& r) {
         p.entries.push_back(p.entries[1 + r.below(3)]);
         return packed(p.header(), p.data);
       }},
      {"duplicate name by an escape",
       [](Parts p, Rng&) {
         p.entries.push_back(p.entries[1]);
         replace(p.entries[4], "\"t0\"", "\"\\u0074\\u0030\"");
         return packed(p.header(), p.data);
       }},
      {"metadata not texts",
       [](Parts p, Rng&) {
         p.entries[0] = R"("__metadata__":{"step":5})";
         return packed(p.header(), p.data);
       }},
      {"metadata a list",
       [](Parts p, Rng&) {
         p.entries[0] = R"("__metadata__":["pt"])";
         return packed(p.header(), p.data);
       }},
      {"metadata twice",
       [](Parts p, Rng&) {
         p.entries.push_back(p.entries[0]);
         return packed(p.header(), p.data);
       }},
      {"not UTF-8",
       [](Parts p, Rng& r) {
         p.entries[1].insert(1, 1, static_cast<char>(0x80 + r.below(0x80)));
         return packed(p.header(), p.data);
       }},
      {"NUL in a name",
       [](Parts p, Rng&) {
         replace(p.entries[1], "\"t0\"", "\"t\\u00000\"");
         return packed(p.header(), p.data);
       }},
      {"NUL in the header",
       [](Parts p, Rng& r) {
         std::string h = p.header();
         h[r.below(h.size())] = '\0';
         return packed(h, p.data);
       }},
      {"NULs behind the header",
       [](Parts p, Rng& r) {
         return packed(p.header() + std::string(1 + r.below(20), '\0'), p.data);
       }},
      {"deep nesting",
       [](Parts p, Rng& r) {
         const std::size_t depth = 2000 + r.below(50000);
         p.entries[1] = "\"t0\":" + std::string(depth, r.chance(0.5) ? '[' : '{');
         return packed(p.header(), p.data);
       }},
      {"deep and closed",
       [](Parts p, Rng& r) {
         const std::size_t depth = 2000 + r.below(50000);
         p.entries[1] = "\"t0\":" + std::string(depth, '[') + std::string(depth, ']');
         return packed(p.header(), p.data);
       }},
      {"not an object",
       [](Parts p, Rng& r) { return packed(r.chance(0.5) ? "[1]" : "null", p.data); }},
      {"entry is a list",
       [](Parts p, Rng&) {
         p.entries[1] = "\"t0\":[1,2]";
         return packed(p.header(), p.data);
       }},
      {"text behind the object", [](Parts p, Rng&) { return packed(p.header() + "{}", p.data); }},
      {"space before the object", [](Parts p, Rng&) { return packed(" " + p.header(), p.data); }},
      {"noise",
       [](Parts p, Rng& r) {
         std::string h = p.header();
         for (char& c : h) c = static_cast<char>(r.below(256));
         return packed(h, p.data);
       }},
      {"a bracket lost",
       [](Parts p, Rng&) {
         std::string h = p.header();
         h.pop_back();
         return packed(h, p.data);
       }},
      {"empty header", [](Parts p, Rng&) { return packed("", p.data); }},
  };
  return all;
}

}  // namespace

TEST_CASE("A good header is read, and written as the reference implementation writes it") {
  const std::string data(20, 'x');
  const std::string header =
      "{\"__metadata__\":{\"format\":\"pt\"}," + entry("a", "F32", "[2,2]", "[0,16]") + "," +
      entry("b", "BF16", "[]", "[16,18]") + "," + entry("c", "U8", "[0,7]", "[18,18]") + "," +
      entry("d", "F4", "[4]", "[18,20]") + "}";
  const SafetensorsHeader read = parse_safetensors_header(header, data.size(), "it");
  CHECK(read.metadata.at("format") == "pt");
  CHECK((read.tensors.at("a").shape == std::vector<std::int64_t>{2, 2}));
  CHECK(read.tensors.at("b").count() == 1);
  CHECK(read.tensors.at("b").begin == 16);
  CHECK(read.tensors.at("c").bytes() == 0);

  std::vector<std::pair<std::string, StoredTensor>> entries;
  for (const auto& [name, tensor] : read.tensors)
    if (readable(tensor.type)) entries.emplace_back(name, tensor);
  const std::string written = safetensors_header(entries, read.metadata);
  CHECK(written.size() % 8 == 0);
  const std::string expected = header.substr(0, header.find(",\"d\"")) + "}";
  CHECK(written.substr(8, expected.size()) == expected);
  CHECK(written.find_first_not_of(' ', 8 + expected.size()) == std::string::npos);
}

TEST_CASE("A broken file is told apart from a good one") {
  const testing::TemporaryFolder folder;
  const std::string data(8, 'x');
  const auto one = [&](const char* type, const char* shape, const char* offsets) {
    return packed("{" + entry("t", type, shape, offsets) + "}", data);
  };
  CHECK(opened(folder, one("F32", "[2]", "[0,8]")) == "nothing");
  CHECK_THAT(opened(folder, "abc"), Contains("shorter"));
  CHECK_THAT(opened(folder, packed("{" + entry("t", "F32", "[2]", "[0,8]") + "}", "")),
             Contains("'t'") && Contains("outside"));
  CHECK_THAT(opened(folder, one("F32", "[3]", "[0,8]")), Contains("'t'") && Contains("needs 12"));
  CHECK_THAT(opened(folder, one("F9", "[2]", "[0,8]")), Contains("unknown type 'F9'"));
  CHECK_THAT(opened(folder, one("F32", "[-2]", "[0,8]")), Contains("'t'") && Contains("shape"));
  CHECK_THAT(opened(folder, one("F32", "[281474976710656,281474976710656]", "[0,8]")),
             Contains("too many"));
  CHECK_THAT(opened(folder, one("U8", "[4]", "[0,4]")),
             Contains("8 bytes of data") && Contains("4"));
  CHECK_THAT(opened(folder, one("U8", "[4]", "[4,8]")), Contains("gaps"));
  CHECK_THAT(opened(folder, packed("{" + entry("a", "U8", "[5]", "[0,5]") + "," +
                                       entry("b", "U8", "[4]", "[4,8]") + "}",
                                   data)),
             Contains("'b'") && Contains("'a'") && Contains("overlap"));
  CHECK_THAT(opened(folder, packed("[1]", data)), Contains("'{'"));
  CHECK_THAT(opened(folder, packed("{}", data, std::uint64_t{1} << 48)), Contains("cut short"));
  CHECK_THAT(complaint([&] { WeightsFile file(folder.path()); }), Contains("not a file"));
  CHECK_THAT(complaint([&] { WeightsFile file(folder.path() / "absent"); }),
             Contains("absent: cannot be opened"));
}

// With DT2IT_KEEP_HEADERS=FOLDER the files stay there, for comparing with what other readers say.
TEST_CASE(
    "200 broken headers are 200 errors that name the file, without a crash and without much "
    "memory") {
  const testing::TemporaryFolder folder;
  const char* keep = std::getenv("DT2IT_KEEP_HEADERS");
  const long before = peak_kilobytes();
  int broken = 0;
  for (std::uint64_t seed = 0; broken < 200; ++seed)
    for (const auto& [what, fault] : faults()) {
      Rng rng(stable_hash(what, seed));
      const Parts parts = good(rng);
      if (seed == 0) REQUIRE(opened(folder, packed(parts.header(), parts.data)) == "nothing");
      const std::string bytes = fault(parts, rng);
      CAPTURE(what, seed);
      const std::string said = opened(folder, bytes);
      CHECK(said != "nothing");
      CHECK(said.size() < 1000);
      if (keep)
        testing::write_text(
            std::filesystem::path(keep) / fmt::format("{:03}_{}.safetensors", broken, what), bytes);
      ++broken;
    }
  CHECK(broken >= 200);
  CHECK(peak_kilobytes() - before < 64 * 1024);
}

}  // namespace dt2it

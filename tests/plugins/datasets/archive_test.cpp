// SPDX-License-Identifier: Apache-2.0
#include "plugins/common/records/archive.hpp"

#include <archive.h>
#include <archive_entry.h>
#include <locale.h>

#include <catch2/catch.hpp>
#include <fstream>
#include <iterator>
#include <set>

#include "dt2it/error.hpp"
#include "dt2it/rng.hpp"
#include "dt2it/testing/fake_context.hpp"
#include "plugins/common/records/input_files.hpp"
#include "plugins/common/records/media_places.hpp"

using namespace dt2it;
using namespace dt2it::testing;
using namespace dt2it::records;
using Catch::Matchers::Contains;
namespace fs = std::filesystem;

namespace {

struct Member {
  std::string name, content;
  mode_t type = AE_IFREG;
  std::string link;
};

fs::path pack(const fs::path& file, const std::vector<Member>& members) {
  fs::create_directories(file.parent_path());
  struct archive* writer = archive_write_new();
  if (file.string().find(".zip") != std::string::npos) {
    archive_write_set_format_zip(writer);
  } else {
    archive_write_set_format_pax_restricted(writer);
    if (file.extension() == ".gz") archive_write_add_filter_gzip(writer);
  }
  REQUIRE(archive_write_open_filename(writer, file.c_str()) == ARCHIVE_OK);
  for (const Member& member : members) {
    archive_entry* entry = archive_entry_new();
    archive_entry_set_pathname(entry, member.name.c_str());
    archive_entry_set_filetype(entry, member.type);
    archive_entry_set_perm(entry, 0644);
    archive_entry_set_size(entry, static_cast<la_int64_t>(member.content.size()));
    if (!member.link.empty()) archive_entry_set_symlink(entry, member.link.c_str());
    REQUIRE(archive_write_header(writer, entry) == ARCHIVE_OK);
    if (!member.content.empty())
      REQUIRE(archive_write_data(writer, member.content.data(), member.content.size()) >= 0);
    archive_entry_free(entry);
  }
  archive_write_close(writer);
  archive_write_free(writer);
  return file;
}

std::string read(const fs::path& file) {
  std::ifstream stream(file, std::ios::binary);
  return {std::istreambuf_iterator<char>(stream), {}};
}

// A zip archive with another name of the same length, which is marked to be UTF-8.
std::string renamed(std::string zip, const std::string& from, const std::string& to) {
  REQUIRE(from.size() == to.size());
  // Header before the name: its bytes, and where its flags are.
  for (const auto& [header, flags] : {std::pair<std::size_t, std::size_t>{30, 6}, {46, 8}})
    for (std::size_t at = zip.find(header == 30 ? "PK\3\4" : "PK\1\2"); at != zip.npos;
         at = zip.find(header == 30 ? "PK\3\4" : "PK\1\2", at + 1))
      if (zip.compare(at + header, from.size(), from) == 0) {
        zip.replace(at + header, to.size(), to);
        zip[at + flags + 1] |= 8;
      }
  return zip;
}

struct Unpacked {
  fs::path folder;
  std::vector<std::string> warnings;
};

Unpacked unpack(const fs::path& archive, const fs::path& scratch, const UnpackLimits& limits = {}) {
  Unpacked result;
  const std::function<void(const std::string&)> warn = [&](const std::string& text) {
    result.warnings.push_back(text);
  };
  result.folder = unpacked(archive, scratch, warn, limits);
  return result;
}

// Everything below a folder, relative to it.
std::set<std::string> tree(const fs::path& folder) {
  std::set<std::string> files;
  for (const auto& entry : fs::recursive_directory_iterator(folder))
    if (!entry.is_directory()) files.insert(fs::relative(entry.path(), folder).string());
  return files;
}

}  // namespace

TEST_CASE("Archives unpack once, whatever their form; parts of a split one go together") {
  FakeContext context;
  const fs::path root = context.scratch();
  const std::string large(300'000, 'x');
  for (const char* name : {"a.zip", "a.tar", "a.tar.gz"}) {
    const fs::path file = pack(root / "in" / name, {{"d/one.txt", "1"}, {"two.bin", large}});
    const Unpacked first = unpack(file, root / "out");
    CHECK(first.warnings.empty());
    CHECK(tree(first.folder) == std::set<std::string>{"d/one.txt", "two.bin"});
    CHECK(read(first.folder / "two.bin") == large);
    fs::remove(first.folder / "d/one.txt");  // seen to be complete: not looked at again
    CHECK(unpack(file, root / "out").folder == first.folder);
    CHECK(tree(first.folder).size() == 1);
  }
  std::string random;
  Rng rng(7);
  for (int i = 0; i < 100'000; ++i) random += static_cast<char>(rng.below(256));
  const std::string bytes = read(pack(root / "in/b.zip", {{"m.bin", random}, {"n.txt", "n"}}));
  REQUIRE(bytes.size() > 90'000);
  std::ofstream(root / "in/b.zip_aa") << bytes.substr(0, 40'000);
  std::ofstream(root / "in/b.zip_ab") << bytes.substr(40'000, 30'000);
  std::ofstream(root / "in/b.zip_ac") << bytes.substr(70'000);
  CHECK(is_archive(root / "in/b.zip_aa"));
  CHECK_FALSE(is_archive(root / "in/b.zip_ab"));
  CHECK(is_archive("x.zip.part-aa"));
  CHECK(is_archive("x.zip.001"));
  CHECK_FALSE(is_archive("x.zipper"));
  CHECK(read(unpack(root / "in/b.zip_aa", root / "out").folder / "m.bin") == random);
}

TEST_CASE("An interrupted unpacking goes on") {
  FakeContext context;
  const fs::path root = context.scratch();
  const fs::path file = pack(root / "a.tar", {{"one", "1111"}, {"two", "2222"}});
  const fs::path folder = unpack(file, root / "out").folder;
  fs::remove(fs::path(folder.string() + ".complete"));
  fs::remove(folder / "two");
  std::ofstream(folder / "one") << "kept";  // same size: taken as it is
  CHECK(unpack(file, root / "out").folder == folder);
  CHECK(read(folder / "two") == "2222");
  CHECK(read(folder / "one") == "kept");
}

TEST_CASE("Nothing is written outside of the folder, whatever an archive says") {
  FakeContext context;
  const fs::path root = context.scratch();
  const fs::path file = pack(root / "evil.tar", {{"../outside.txt", "x"},
                                                 {"/tmp/dt2it-outside.txt", "x"},
                                                 {"a/../../outside.txt", "x"},
                                                 {"link", "", AE_IFLNK, ".."},
                                                 {"link/through.txt", "inside"},
                                                 {"..\\outside.txt", "x"},
                                                 {"pipe", "", AE_IFIFO},
                                                 {"fine.txt", "fine"}});
  const Unpacked result = unpack(file, root / "out");
  CHECK(tree(result.folder) == std::set<std::string>{"fine.txt", "link/through.txt"});
  CHECK(fs::is_directory(fs::symlink_status(result.folder / "link")));
  CHECK(result.warnings.size() == 6);  // five of the members, and how many in all
  CHECK_THAT(result.warnings[0], Contains("leads outside"));
  CHECK_FALSE(fs::exists("/tmp/dt2it-outside.txt"));
  std::set<std::string> around;
  for (const auto& entry : fs::directory_iterator(root)) around.insert(entry.path().filename());
  CHECK(around == std::set<std::string>{"evil.tar", "out"});
}

TEST_CASE("Bombs and damaged archives are errors that name the archive") {
  FakeContext context;
  const fs::path root = context.scratch();
  const fs::path bomb = pack(root / "bomb.zip", {{"zeros", std::string(30'000'000, '\0')}});
  CHECK(fs::file_size(bomb) < 100'000);
  UnpackLimits limits;
  limits.free_bytes = 1'000'000;
  CHECK_THROWS_WITH(unpack(bomb, root / "out", limits),
                    Contains("bomb.zip") && Contains("200 times"));
  std::uintmax_t written = 0;
  for (const auto& entry : fs::recursive_directory_iterator(root / "out"))
    if (entry.is_regular_file()) written += entry.file_size();
  CHECK(written < 20'000'000);  // it stopped on the way
  limits = {};
  limits.member_bytes = 1000;
  CHECK_THROWS_WITH(
      unpack(pack(root / "big.tar", {{"m", std::string(5000, 'm')}}), root / "out", limits),
      Contains("allowed: 1000"));
  limits = {};
  limits.members = 2;
  CHECK_THROWS_WITH(
      unpack(pack(root / "many.tar", {{"a", "1"}, {"b", "2"}, {"c", "3"}}), root / "out", limits),
      Contains("more than 2"));
  const std::string whole =
      read(pack(root / "whole.tar.gz", {{"m", std::string(200'000, 'm') + "end"}}));
  std::ofstream(root / "short.tar.gz", std::ios::binary) << whole.substr(0, whole.size() / 2);
  CHECK_THROWS_AS(unpack(root / "short.tar.gz", root / "out"), DataError);
  std::ofstream(root / "text.zip") << "this is no archive";
  CHECK_THROWS_WITH(unpack(root / "text.zip", root / "out"), Contains("text.zip"));
}

TEST_CASE("Paths lead into archives") {
  FakeContext context;
  const fs::path root = context.scratch();
  pack(root / "annotations.zip",
       {{"ann/a.jsonl", "{}\n"}, {"ann/b.jsonl", "{}\n"}, {"notes.txt", "n"}});
  pack(root / "images.tar.gz", {{"i/p.png", "x"}});
  const auto inside =
      input_files(root / "annotations.zip/ann/*.jsonl", root / "images.tar.gz/i", "", context);
  REQUIRE(inside.size() == 2);
  CHECK(inside[0].source == "a");
  CHECK(read(inside[0].media_root / "p.png") == "x");
  CHECK(input_files(root / "annotations.zip", {}, "", context).size() == 2);
  CHECK_THROWS_WITH(input_files(root / "annotations.zip/nothing", {}, "", context),
                    Contains("nothing"));
}

TEST_CASE(
    "Archives that lie where a folder is named; several as one folder; packed with a folder of "
    "their own or without") {
  FakeContext context;
  const fs::path root = context.scratch() / "set";
  // MMPR: annotations.zip, and images.zip in parts.
  pack(root / "annotations.zip", {{"annotations/a.jsonl", "{}\n"}});
  const std::string zip =
      read(pack(root / "whole.zip", {{"images/p.png", std::string(50'000, 'p')}}));
  std::ofstream(root / "images.zip_aa", std::ios::binary) << zip.substr(0, zip.size() / 2);
  std::ofstream(root / "images.zip_ab", std::ios::binary) << zip.substr(zip.size() / 2);
  fs::remove(root / "whole.zip");
  std::ofstream(root / "meta.json")
      << R"({"a":{"root":"images","annotation":"annotations/a.jsonl","repeat_time":1}})";
  const auto meta = input_files(root / "meta.json", {}, "", context);
  REQUIRE(meta.size() == 1);
  CHECK(read(meta[0].file) == "{}\n");
  CHECK(read(meta[0].media_root / "p.png") == std::string(50'000, 'p'));

  // MM-RLHF: five archives, paths that begin with the archive's name.
  pack(root / "media/long.zip", {{"long/1.png", "l"}});
  pack(root / "media/short.zip", {{"1.png", "s"}});
  std::ofstream(root / "pairs.jsonl") << "{}\n";
  const auto joined = input_files(root / "pairs.jsonl", root / "media/*.zip", "", context);
  CHECK(read(joined[0].media_root / "long/1.png") == "l");
  CHECK(read(joined[0].media_root / "short/1.png") == "s");
  CHECK(input_files(root / "pairs.jsonl", root / "media/*.zip", "", context)[0].media_root ==
        joined[0].media_root);
  CHECK_THROWS_WITH(input_files(root / "pairs.jsonl", root / "none/*.zip", "", context),
                    Contains("no folder or archive of media"));
  pack(root / "clash/x.zip", {{"d/1.png", "1"}});
  pack(root / "clash/y.zip", {{"d/2.png", "2"}});
  CHECK_THROWS_WITH(input_files(root / "pairs.jsonl", root / "clash/*.zip", "", context),
                    Contains("'d' is in"));

  // VLFeedback: names start inside the only folder of the archive, or do not.
  pack(root / "merged_images.zip", {{"merged_images/v.png", "v"}});
  const auto wrapped = input_files(root / "pairs.jsonl", root / "merged_images.zip", "", context);
  MediaPlaces places(context.media(), wrapped[0].media_root, false);
  CHECK(places.put_file(wrapped[0].media_root / "v.png", "v.png").present());
  CHECK(places.put_file(wrapped[0].media_root / "merged_images/v.png", "v.png").present());
  CHECK_FALSE(places.put_file(wrapped[0].media_root / "../v.png", "v.png").present());
  CHECK_FALSE(places.put_file(wrapped[0].media_root / "w.png", "w.png").present());
}

TEST_CASE("Names beyond ASCII come out as they are, whatever the locale") {
  FakeContext context;
  const fs::path root = context.scratch();
  const std::string name = "d/\xC3\xA9t\xC3\xA9 \xE7\x8C\xAB.png";
  const std::string locale = setlocale(LC_CTYPE, nullptr);
  CHECK(locale == "C");  // as in programs that never ask for another one
  const locale_t utf8 = newlocale(LC_CTYPE_MASK, "C.UTF-8", nullptr);
  REQUIRE(utf8);
  const locale_t thread = uselocale(utf8);
  const fs::path tar = pack(root / "b.tar", {{name, "cat"}});
  uselocale(thread);
  freelocale(utf8);
  CHECK(tree(unpack(tar, root / "out").folder) == std::set<std::string>{name});

  std::string zip = read(pack(root / "a.zip", {{"1.png", "cat"}, {"2.png", "x"}, {"e.txt", "e"}}));
  zip = renamed(renamed(std::move(zip), "1.png", "\xE7\x8C\xAB.g"), "2.png", "\xFF\xFEpng");
  std::ofstream(root / "a.zip", std::ios::binary) << zip;
  const Unpacked result = unpack(root / "a.zip", root / "out");
  CHECK(tree(result.folder) == std::set<std::string>{"\xE7\x8C\xAB.g", "e.txt"});
  REQUIRE(result.warnings.size() == 1);  // of the name that is no UTF-8
  CHECK_THAT(result.warnings[0],
             Contains("a.zip: member 2") && Contains("cannot be read as UTF-8"));
  CHECK(setlocale(LC_CTYPE, nullptr) == locale);
  CHECK(uselocale(nullptr) == thread);
}

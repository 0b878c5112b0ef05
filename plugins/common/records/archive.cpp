// SPDX-License-Identifier: Apache-2.0
#include "plugins/common/records/archive.hpp"

#include <archive.h>
#include <archive_entry.h>
#include <fcntl.h>
#include <locale.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <memory>
#include <vector>

#include "dt2it/error.hpp"
#include "dt2it/rng.hpp"

namespace dt2it::records {
namespace {

namespace fs = std::filesystem;

constexpr const char* kEndings[] = {".zip",     ".tar",    ".tgz",     ".tar.gz",
                                    ".tar.bz2", ".tar.xz", ".tar.zst", ".7z"};

// Where the mark of a part begins in a name: "images.zip_aa", "images.zip.part-aa",
// "images.zip.001"; npos: it is no part.
std::size_t part_mark(const std::string& name) {
  for (const char* ending : kEndings) {
    const std::size_t at = name.rfind(ending);
    if (at == name.npos) continue;
    const std::size_t mark = at + std::strlen(ending);
    std::string rest = name.substr(mark);
    bool marked = false, may_be_letters = false;
    for (const char* start : {".part-", ".part", "_", "."})
      if (rest.starts_with(start)) {
        rest.erase(0, std::strlen(start));
        marked = true;
        may_be_letters = std::string_view(start) != ".";  // ".tar.gz" is no part
        break;
      }
    if (!marked) continue;
    const bool letters =
        may_be_letters && std::ranges::all_of(rest, [](char c) { return c >= 'a' && c <= 'z'; });
    const bool digits = std::ranges::all_of(rest, [](char c) { return c >= '0' && c <= '9'; });
    if (rest.size() >= 2 && rest.size() <= 4 && (letters || digits)) return mark;
  }
  return name.npos;
}

// The part after this one: "_az" -> "_ba", ".009" -> ".010"; the length stays.
fs::path next_part(const fs::path& part) {
  std::string name = part.filename().string();
  for (std::size_t i = name.size(); i-- > 0;) {
    char& c = name[i];
    if (c == 'z') {
      c = 'a';
    } else if (c == '9') {
      c = '0';
    } else if ((c >= 'a' && c < 'z') || (c >= '0' && c < '9')) {
      ++c;
      break;
    } else {
      return {};
    }
  }
  return part.parent_path() / name;
}

std::vector<fs::path> parts_of(const fs::path& archive) {
  std::vector<fs::path> parts{archive};
  if (part_mark(archive.filename().string()) == std::string::npos) return parts;
  for (fs::path next = next_part(archive); !next.empty() && fs::is_regular_file(next);
       next = next_part(next))
    parts.push_back(next);
  return parts;
}

// Empty: the name leads outside, or is none.
fs::path safe_name(const char* name) {
  if (!name || !*name) return {};
  std::string text(name);
  std::replace(text.begin(), text.end(), '\\', '/');
  if (text.size() > 4000 || text.front() == '/' || (text.size() > 1 && text[1] == ':')) return {};
  fs::path safe;
  for (const fs::path& step : fs::path(text)) {
    if (step == "..") return {};
    if (step == "." || step.empty()) continue;
    if (step.native().size() > 255) return {};
    safe /= step;
  }
  return safe;
}

// libarchive gives names in the locale's characters, and no name where those cannot hold it: of this
// thread they are UTF-8 while this lives, whatever the program's locale is.
class Utf8Names {
 public:
  Utf8Names() : locale_(newlocale(LC_CTYPE_MASK, "C.UTF-8", nullptr)) {
    if (locale_) before_ = uselocale(locale_);
  }
  ~Utf8Names() {
    if (!locale_) return;
    uselocale(before_);
    freelocale(locale_);
  }
  Utf8Names(const Utf8Names&) = delete;
  Utf8Names& operator=(const Utf8Names&) = delete;

 private:
  locale_t locale_, before_ = nullptr;
};

class Unpacking {
 public:
  Unpacking(const fs::path& archive, const fs::path& into,
            const std::function<void(const std::string&)>& warn, const UnpackLimits& limits)
      : archive_(archive), into_(into), warn_(warn), limits_(limits), reader_(archive_read_new()) {
    archive_read_support_filter_all(reader_.get());
    archive_read_support_format_all(reader_.get());
    for (const fs::path& part : parts_of(archive)) {
      names_.push_back(part.string());
      packed_ += fs::file_size(part);
    }
    std::vector<const char*> pointers;
    for (const std::string& name : names_) pointers.push_back(name.c_str());
    pointers.push_back(nullptr);
    if (archive_read_open_filenames(reader_.get(), pointers.data(), 1 << 16) != ARCHIVE_OK)
      fail(reason());
  }

  void run() {
    archive_entry* entry = nullptr;
    std::uint64_t members = 0, left_out = 0;
    for (int result; (result = archive_read_next_header(reader_.get(), &entry)) != ARCHIVE_EOF;) {
      if (result != ARCHIVE_OK && result != ARCHIVE_WARN) fail(reason());
      if (++members > limits_.members)
        fail("has more than " + std::to_string(limits_.members) + " members");
      const char* name = archive_entry_pathname(entry);
      if (archive_entry_filetype(entry) == AE_IFDIR) continue;
      const fs::path safe = safe_name(name);
      if (safe.empty() || archive_entry_filetype(entry) != AE_IFREG ||
          archive_entry_hardlink(entry)) {
        if (++left_out <= 5)
          warn_(archive_.string() + ": member " +
                (!name ? std::to_string(members) + " is left out: its name cannot be read as UTF-8"
                       : "'" + std::string(name).substr(0, 200) +
                             (safe.empty() ? "' is left out: its name leads outside"
                                           : "' is left out: it is no regular file")));
        continue;
      }
      take(entry, safe);
    }
    if (left_out > 5)
      warn_(archive_.string() + ": " + std::to_string(left_out) + " members are left out in all");
  }

 private:
  [[noreturn]] void fail(const std::string& what) const {
    throw DataError(archive_.string() + ": " + what);
  }
  std::string reason() const {
    const char* text = archive_error_string(reader_.get());
    return std::string("cannot be unpacked: ") + (text ? text : "damaged or no archive");
  }

  void take(archive_entry* entry, const fs::path& name) {
    const fs::path target = into_ / name;
    const bool known = archive_entry_size_is_set(entry);
    const std::int64_t size = known ? archive_entry_size(entry) : 0;
    if (known && static_cast<std::uint64_t>(size) > limits_.member_bytes)
      fail("member '" + name.string() + "' says it has " + std::to_string(size) +
           " bytes (allowed: " + std::to_string(limits_.member_bytes) + ")");
    std::error_code error;
    if (known && fs::is_regular_file(fs::symlink_status(target, error)) &&
        fs::file_size(target, error) == static_cast<std::uint64_t>(size)) {
      unpacked_ += static_cast<std::uint64_t>(size);
      return;  // taken before an interruption
    }
    fs::create_directories(target.parent_path(), error);
    if (error)
      fail("member '" + name.string() + "': its folder cannot be made: " + error.message());
    const fs::path part = into_ / ".part";
    const int file =
        open(part.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0644);
    if (file < 0) fail("cannot write " + part.string() + ": " + std::strerror(errno));
    const std::unique_ptr<const int, void (*)(const int*)> closing(&file,
                                                                   [](const int* f) { close(*f); });
    std::uint64_t written = 0;
    const void* block = nullptr;
    std::size_t length = 0;
    la_int64_t offset = 0;
    for (int result; (result = archive_read_data_block(reader_.get(), &block, &length, &offset)) !=
                     ARCHIVE_EOF;) {
      if (result != ARCHIVE_OK && result != ARCHIVE_WARN)
        fail("member '" + name.string() + "': " + reason());
      written = std::max(written, static_cast<std::uint64_t>(offset) + length);
      if (written > limits_.member_bytes) fail("member '" + name.string() + "' is too large");
      if (unpacked_ + written > limits_.free_bytes &&
          static_cast<double>(unpacked_ + written) > limits_.ratio * static_cast<double>(packed_))
        fail("unpacks to more than " + std::to_string(static_cast<int>(limits_.ratio)) +
             " times its size: stopped at member '" + name.string() + "'");
      for (std::size_t done = 0; done < length;) {
        const ssize_t count = pwrite(file, static_cast<const char*>(block) + done, length - done,
                                     offset + static_cast<la_int64_t>(done));
        if (count < 0 && errno == EINTR) continue;
        if (count <= 0)
          fail("member '" + name.string() + "' cannot be written: " + std::strerror(errno));
        done += static_cast<std::size_t>(count);
      }
    }
    if (known && written != static_cast<std::uint64_t>(size))
      fail("member '" + name.string() + "' is cut short");
    unpacked_ += written;
    fs::rename(part, target, error);
    if (error) fail("member '" + name.string() + "' cannot be put in place: " + error.message());
  }

  struct Free {
    void operator()(struct archive* reader) const { archive_read_free(reader); }
  };
  const fs::path archive_, into_;
  const std::function<void(const std::string&)>& warn_;
  const UnpackLimits limits_;
  std::vector<std::string> names_;
  std::uint64_t packed_ = 0, unpacked_ = 0;
  std::unique_ptr<struct archive, Free> reader_;
};

}  // namespace

bool is_archive(const fs::path& file) {
  std::string name = file.filename().string();
  const std::size_t mark = part_mark(name);
  if (mark != name.npos)
    return name.find_first_not_of("a0", name.size() - 2) == name.npos || name.ends_with("1");
  std::transform(name.begin(), name.end(), name.begin(),
                 [](unsigned char c) { return std::tolower(c); });
  return std::ranges::any_of(kEndings, [&](const char* ending) { return name.ends_with(ending); });
}

fs::path unpacked(const fs::path& archive, const fs::path& scratch,
                  const std::function<void(const std::string&)>& warn, const UnpackLimits& limits) {
  std::string facts = fs::absolute(archive).string();
  for (const fs::path& part : parts_of(archive))
    facts += "|" + std::to_string(fs::file_size(part)) + "|" +
             std::to_string(fs::last_write_time(part).time_since_epoch().count());
  char tag[24];
  std::snprintf(tag, sizeof tag, "%016llx", static_cast<unsigned long long>(stable_hash(facts)));
  const fs::path whole = scratch / "unpacked" / (archive.stem().string() + "-" + tag);
  const fs::path done = scratch / "unpacked" / (archive.stem().string() + "-" + tag + ".complete");
  if (fs::exists(done)) return whole;
  fs::create_directories(whole);
  const Utf8Names names;
  Unpacking(archive, whole, warn, limits).run();
  std::error_code ignored;
  fs::remove(whole / ".part", ignored);
  std::ofstream(done) << archive.string() << '\n';
  return whole;
}

}  // namespace dt2it::records

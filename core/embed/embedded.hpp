// SPDX-License-Identifier: Apache-2.0
#pragma once

// The host as a library (libdt2it_host.so), for programs in other languages: only types of the
// standard library, and nothing of the rest of this tree. What is thrown is std::runtime_error with
// a message for the user.

#include <cstddef>
#include <memory>
#include <string>
#include <vector>

#define DT2IT_EMBED __attribute__((visibility("default")))

namespace dt2it::embed {

struct Part {
  enum class Kind { text, image_file, image_bytes, video_file };
  Kind kind = Kind::text;
  std::string data;  // text, path, or the bytes of an encoded image
};
struct Message {
  std::string role;  // system, user, assistant
  std::vector<Part> content;
};
struct Request {
  std::vector<Message> messages;  // the last one is the user's
  std::vector<std::string> candidates;
};
struct Reward {
  double value = 0;    // NaN unless the status is "ok"
  std::string status;  // as in files of rewards
  std::string detail;
};

// A reward model in memory. Thread-safe; calls wait for each other.
class DT2IT_EMBED Model {
 public:
  // `model`: a checkpoint's folder, or KIND[:ARG]; settings: "key=value" as for `dt2it score
  // --set`; plugin_path: folders before those beside this library.
  Model(const std::string& model, const std::vector<std::string>& settings,
        const std::vector<std::string>& plugin_path);
  ~Model();
  Model(const Model&) = delete;
  Model& operator=(const Model&) = delete;
  std::vector<std::vector<Reward>> score(const std::vector<Request>& requests);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

struct Record {
  std::size_t row = 0;
  std::string id, status, detail;
  std::vector<Message> messages;        // images and videos as files below the pairs' own folder
  std::vector<std::string> candidates;  // of a pair: chosen, rejected
  bool pair = false;
};

// Records of a file or folder in any form that `dt2it score` reads. Their images lie in a folder
// that goes with this object.
class DT2IT_EMBED Records {
 public:
  // limit 0: all.
  Records(const std::string& input, const std::string& format, const std::string& media_root,
          std::size_t limit, const std::vector<std::string>& plugin_path);
  ~Records();
  Records(const Records&) = delete;
  Records& operator=(const Records&) = delete;
  const std::vector<Record>& all() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

DT2IT_EMBED std::string version();

}  // namespace dt2it::embed

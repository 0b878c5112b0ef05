// SPDX-License-Identifier: Apache-2.0
#include "plugins/trainers/llama_factory/training_log.hpp"

#include <fmt/format.h>

#include <boost/json/object.hpp>
#include <boost/json/parse.hpp>
#include <boost/json/value.hpp>
#include <limits>

#include "dt2it/error.hpp"

namespace dt2it::llama_factory {
namespace {

constexpr double kUnknown = std::numeric_limits<double>::quiet_NaN();

double number(const boost::json::object& line, std::string_view name) {
  const boost::json::value* value = line.if_contains(name);
  if (value && value->is_double()) return value->get_double();
  if (value && value->is_int64()) return static_cast<double>(value->get_int64());
  return kUnknown;
}

}  // namespace

std::optional<TrainStep> parse_log_line(const std::string& line) {
  // Python writes numbers that JSON has not.
  for (const char* word : {"\"loss\": NaN", "\"loss\": Infinity", "\"loss\": -Infinity"})
    if (line.find(word) != std::string::npos)
      throw ModelError("trainers/llama_factory: the loss is not finite: " + line);
  boost::json::error_code failed;
  const boost::json::value value = boost::json::parse(line, failed);
  if (failed || !value.is_object()) return std::nullopt;
  const boost::json::object& object = value.get_object();
  if (!object.contains("loss") || !object.contains("current_steps")) return std::nullopt;
  TrainStep step;
  step.step = static_cast<std::int64_t>(number(object, "current_steps"));
  step.total_steps = static_cast<std::int64_t>(number(object, "total_steps"));
  step.loss = number(object, "loss");
  step.learning_rate = number(object, "lr");
  step.accuracy = number(object, "accuracy");
  step.margin = step.gradient_norm = kUnknown;
  return step;
}

LineFollower::LineFollower(std::filesystem::path file, bool from_end) : file_(std::move(file)) {
  std::error_code absent;
  const auto size = std::filesystem::file_size(file_, absent);
  if (from_end && !absent) place_ = static_cast<std::streamoff>(size);
}

bool LineFollower::next(std::string& line) {
  std::size_t end = rest_.find('\n');
  if (end == std::string::npos) {
    std::ifstream stream(file_, std::ios::binary);
    stream.seekg(place_);
    std::string more((std::istreambuf_iterator<char>(stream)), {});
    place_ += static_cast<std::streamoff>(more.size());
    rest_ += more;
    end = rest_.find('\n');
    if (end == std::string::npos) return false;
  }
  line = rest_.substr(0, end);
  rest_.erase(0, end + 1);
  return true;
}

}  // namespace dt2it::llama_factory

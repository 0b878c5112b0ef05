// SPDX-License-Identifier: Apache-2.0
#include "core/report/repeats.hpp"

#include <simdjson.h>

#include <algorithm>

namespace dt2it::report {

namespace {

using simdjson::dom::element;

// Most details are empty or text.
bool parsed(std::string_view detail, simdjson::dom::parser& parser, element& root) {
  return detail.starts_with('{') && !parser.parse(detail.data(), detail.size()).get(root);
}

}  // namespace

std::vector<double> draws_in(std::string_view detail) {
  simdjson::dom::parser parser;
  element root;
  simdjson::dom::array list;
  if (!parsed(detail, parser, root) || root["draws"].get(list)) return {};
  std::vector<double> draws;
  for (const element item : list) {
    double draw = 0;
    if (item.get(draw)) return {};
    draws.push_back(draw);
  }
  return draws;
}

std::int64_t RepeatedVotes::most() const { return std::max({first, second, tie}); }

std::optional<RepeatedVotes> votes_in(std::string_view detail) {
  simdjson::dom::parser parser;
  element root, votes;
  RepeatedVotes found;
  if (!parsed(detail, parser, root) || root["votes"].get(votes) ||
      votes["first"].get(found.first) || votes["second"].get(found.second) ||
      votes["tie"].get(found.tie))
    return std::nullopt;
  return found;
}

}  // namespace dt2it::report

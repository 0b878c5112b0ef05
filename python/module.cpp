// SPDX-License-Identifier: Apache-2.0
// dt2it._dt2it: what src/dt2it/__init__.py stands on. Everything that takes long runs without the interpreter's lock.
#include <nanobind/nanobind.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/vector.h>

#include <tuple>

#include "core/embed/embedded.hpp"

namespace nb = nanobind;
using namespace dt2it::embed;

namespace {

constexpr const char* kKinds[] = {"text", "image_file", "image_bytes", "video_file"};

std::vector<Message> messages_of(const nb::handle& list) {
  std::vector<Message> messages;
  for (nb::handle one : list) {
    Message message;
    message.role = nb::cast<std::string>(nb::object(one[0]));
    const nb::object content = one[1];
    for (nb::handle part : content) {
      const int kind = nb::cast<int>(nb::object(part[0]));
      const nb::object data = part[1];
      Part to;
      to.kind = static_cast<Part::Kind>(kind);
      if (PyBytes_Check(data.ptr()))
        to.data.assign(PyBytes_AS_STRING(data.ptr()),
                       static_cast<std::size_t>(PyBytes_GET_SIZE(data.ptr())));
      else
        to.data = nb::cast<std::string>(data);
      message.content.push_back(std::move(to));
    }
    messages.push_back(std::move(message));
  }
  return messages;
}

nb::list python_messages(const std::vector<Message>& messages) {
  nb::list result;
  for (const Message& message : messages) {
    nb::list content;
    for (const Part& part : message.content)
      content.append(nb::make_tuple(kKinds[static_cast<int>(part.kind)], part.data));
    result.append(nb::make_tuple(message.role, content));
  }
  return result;
}

}  // namespace

NB_MODULE(_dt2it, m) {
  m.def("version", &version);
  nb::class_<Model>(m, "Model")
      .def(nb::init<const std::string&, const std::vector<std::string>&,
                    const std::vector<std::string>&>(),
           nb::call_guard<nb::gil_scoped_release>())
      .def("score", [](Model& model, nb::list requests) {
        std::vector<Request> asked;
        for (nb::handle one : requests)
          asked.push_back({messages_of(nb::object(one[0])),
                           nb::cast<std::vector<std::string>>(nb::object(one[1]))});
        std::vector<std::vector<Reward>> rewards;
        {
          nb::gil_scoped_release released;
          rewards = model.score(asked);
        }
        nb::list result;
        for (const auto& row : rewards) {
          nb::list some;
          for (const Reward& reward : row)
            some.append(nb::make_tuple(reward.value, reward.status, reward.detail));
          result.append(some);
        }
        return result;
      });
  nb::class_<Records>(m, "Records")
      .def(nb::init<const std::string&, const std::string&, const std::string&, std::size_t,
                    const std::vector<std::string>&>(),
           nb::call_guard<nb::gil_scoped_release>())
      .def("all", [](const Records& records) {
        nb::list result;
        for (const Record& record : records.all())
          result.append(nb::make_tuple(record.row, record.id, record.status, record.detail,
                                       python_messages(record.messages), record.candidates,
                                       record.pair));
        return result;
      });
}

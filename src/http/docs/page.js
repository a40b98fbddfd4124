"use strict";
// Renders /openapi.json. Text goes in as text, never as markup.
const make = (tag, text, name) => {
  const element = document.createElement(tag);
  if (text !== undefined) element.textContent = text;
  if (name) element.className = name;
  return element;
};
const typeOf = (schema) => {
  if (!schema) return "";
  if (schema.$ref) return schema.$ref.split("/").pop();
  if (schema.oneOf) return schema.oneOf.map(typeOf).join(" or ");
  const type = [].concat(schema.type || "any").join(" or ");
  return schema.items ? `${type} of ${typeOf(schema.items)}` : type;
};
const table = (head, rows) => {
  const element = make("table");
  const line = (cells, tag) => {
    const row = make("tr");
    for (const cell of cells) row.append(make(tag, cell));
    return row;
  };
  element.append(line(head, "th"), ...rows.map((cells) => line(cells, "td")));
  return element;
};
const bodies = (content) =>
  Object.entries(content || {}).map(([media, { schema }]) => `${typeOf(schema)} (${media})`).join(", ");

const route = (path, method, operation) => {
  const box = make("details");
  const summary = make("summary");
  const rights = (operation.security || []).flatMap((entry) => Object.values(entry).flat());
  summary.append(
    make("span", method.toUpperCase(), "method"), make("code", path),
    make("span", rights.join(", "), "right"),
  );
  box.append(summary, make("p", operation.summary || ""));
  if (operation.description) box.append(make("p", operation.description));
  const parameters = operation.parameters || [];
  if (parameters.length) {
    box.append(table(["parameter", "in", "type", "meaning"], parameters.map((parameter) => [
      parameter.name + (parameter.required ? " *" : ""), parameter.in,
      typeOf(parameter.schema), parameter.description || "",
    ])));
  }
  if (operation.requestBody) box.append(make("p", `Body: ${bodies(operation.requestBody.content)}`));
  box.append(table(["status", "answer", "meaning"], Object.entries(operation.responses).map(
    ([status, answer]) => [status, bodies(answer.content), answer.description || ""],
  )));
  return box;
};

const show = (description) => {
  const main = document.getElementById("routes");
  main.replaceChildren();
  document.getElementById("about").textContent = description.info.description;
  for (const tag of description.tags || []) {
    main.append(make("h2", tag.name), make("p", tag.description || ""));
    for (const [path, item] of Object.entries(description.paths)) {
      for (const [method, operation] of Object.entries(item)) {
        if ((operation.tags || []).includes(tag.name)) main.append(route(path, method, operation));
      }
    }
  }
  main.append(make("h2", "shapes"));
  for (const [name, schema] of Object.entries(description.components.schemas)) {
    const box = make("details");
    box.append(make("summary", name), make("pre", JSON.stringify(schema, null, 2)));
    main.append(box);
  }
};

fetch("/openapi.json")
  .then((answer) => answer.json())
  .then(show)
  .catch(() => {
    document.getElementById("routes").replaceChildren(make("p", "The description could not be loaded."));
  });

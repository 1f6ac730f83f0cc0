/** What the seven events of an operation are called and how they are coloured. */

export const MARKED = ["TUMOR_TOUCH", "TUMOR_REMOVAL", "KIDNEY_TOUCH", "HEMORRHAGE"];

const EVENTS = {
  TUMOR_TOUCH: { label: "Tumour touched", colour: "#c78a12" },
  TUMOR_REMOVAL: { label: "Fragment removed", colour: "#2a9d6f" },
  KIDNEY_TOUCH: { label: "Healthy tissue touched", colour: "#8468cf" },
  HEMORRHAGE: { label: "Bleeding", colour: "#d8364f" },
  START: { label: "Start", colour: "#7c8d94" },
  FINISH: { label: "Finish", colour: "#7c8d94" },
};

export const labelOf = (event) => EVENTS[event]?.label ?? event;
export const colourOf = (event) => EVENTS[event]?.colour ?? "#7c8d94";

"use strict";
(() => {
  const part = document.getElementById("interactive");
  if (!part) return;
  const told = document.getElementById("told");
  const stage = document.getElementById("view");
  const RENDER = 4;
  /* Solid from the skin's rim on, and one colour: only the light models the surface. */
  const SKIN = { R: [0, 140, 150], G: [0, 120, 130], B: [0, 105, 115], A: [0, 255, 255], I: [0, 70, 255] };

  const bytesOf = (id) => Uint8Array.from(atob(document.getElementById(id).textContent), (c) => c.charCodeAt(0));
  const unpacked = (id) => new Response(new Blob([bytesOf(id)]).stream().pipeThrough(new DecompressionStream("gzip"))).blob();
  const canDraw = () => {
    try { return Boolean(document.createElement("canvas").getContext("webgl2")); } catch { return false; }
  };

  /* The widget's other half: what a notebook keeps for it. NiiVue reads its settings and volumes here and sends nothing out. */
  class Model {
    constructor(values, others = {}) {
      this.values = values;
      this.listeners = new Map();
      this.widget_manager = { get_model: async (id) => others[id] };
    }
    get(name) { return this.values[name]; }
    set(name, value) { this.values[name] = value; }
    save_changes() {}
    send() {}
    onChange() {}
    on(name, call) { this.listeners.set(name, [...(this.listeners.get(name) ?? []), call]); }
    off(name) { this.listeners.delete(name); }
    put(name, value) { this.set(name, value); for (const call of this.listeners.get(`change:${name}`) ?? []) call(); }
    tell(type, ...data) { for (const call of this.listeners.get("msg:custom") ?? []) call({ type, data }, []); }
  }

  const volume = (id, values) => new Model({
    id, name: `${id}.nii.gz`, data: bytesOf(id), path: {}, paired_img_path: {}, paired_img_data: null, frame_4d: 0,
    colormap: "gray", colormap_negative: "", colormap_type: 0, colormap_invert: false, colorbar_visible: false,
    modulation_image: null, modulate_alpha: 0, opacity: 1, ...values,
  });

  /* Colours by label: four numbers each, none for 0. */
  const labelColours = () => {
    const hex = JSON.parse(document.getElementById("colours").textContent);
    const lut = [0, 0, 0, 0];
    for (const one of hex) lut.push(...[1, 3, 5].map((at) => parseInt(one.slice(at, at + 2), 16)), 255);
    return { lut, min: 0, max: hex.length, labels: ["", ...hex.map((_, n) => String(n + 1))] };
  };

  const drawn = async () => {
    const address = URL.createObjectURL(new Blob([await unpacked("module")], { type: "text/javascript" }));
    const widget = (await import(address)).default;
    URL.revokeObjectURL(address);
    const scan = volume("scan", { cal_min: -200, cal_max: 300 });
    const labels = volume("labels", { opacity: 0, cal_min: 0, cal_max: 255, colormap_label: labelColours() });
    const options = {
      sliceType: RENDER, backColor: [0, 0, 0, 1], crosshairColor: [0.9, 0.6, 0.1, 0.8], crosshairWidth: 0.5,
      show3Dcrosshair: false, dragAndDropEnabled: false, isOrientCube: true, logLevel: "error",
    };
    const model = new Model({
      height: stage.clientHeight, opts: options, volumes: ["IPY_MODEL_scan", "IPY_MODEL_labels"], meshes: [],
      draw_opacity: 1, draw_fill_overwrites: true, background_masks_overlays: false, overlay_outline_width: 0,
      overlay_alpha_shader: 1, graph: {}, scene: { renderAzimuth: 160, renderElevation: 5 },
    }, { scan, labels });
    await widget.initialize({ model });
    await widget.render({ model, el: stage });
    return { model, scan, labels, options };
  };

  const look = ({ model, scan, options }, kind) => {
    const solid = kind === RENDER;
    scan.put("colormap", solid ? "skin" : "gray");
    scan.put("cal_min", solid ? -700 : -160);
    scan.put("cal_max", solid ? 300 : 240);
    model.put("opts", { ...options, sliceType: kind });
    model.tell("set_volume_render_illumination", solid ? 1 : 0);
    model.tell("update_gl_volume");
  };

  const open = async () => {
    if (!canDraw()) {
      told.textContent = "This browser cannot draw here (it has no WebGL 2). The still pictures show the same head.";
      stage.hidden = true;
      part.dataset.state = "without";
      return;
    }
    told.textContent = "Opening …";
    try {
      const view = await drawn();
      view.model.tell("add_colormap", "skin", SKIN);
      look(view, RENDER);
      const buttons = [...part.querySelectorAll("[data-view]")];
      for (const button of buttons) {
        button.addEventListener("click", () => {
          for (const other of buttons) other.setAttribute("aria-pressed", String(other === button));
          look(view, Number(button.dataset.view));
        });
      }
      document.getElementById("overlay")?.addEventListener("change", (event) => {
        view.labels.put("opacity", event.target.checked ? 0.6 : 0);
        view.model.tell("update_gl_volume");
      });
      stage.querySelector("canvas")?.setAttribute("aria-label", "Interactive view of the defaced head");
      told.textContent = "";
      part.dataset.state = "drawn";
    } catch (error) {
      told.textContent = `The interactive view cannot be opened here (${error.name}). The still pictures show the same head.`;
      stage.hidden = true;
      part.dataset.state = "failed";
    }
  };

  part.addEventListener("toggle", () => { if (part.open && !part.dataset.state) { part.dataset.state = "opening"; open(); } });
})();
